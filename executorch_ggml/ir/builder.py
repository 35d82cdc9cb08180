"""Builder: from torch-shaped values to the IR.

A lowering gets values (torch shape and type) and calls one method per IR operation. Each method meets the needs of ggml
(storage, contiguity, broadcasting, at most four dimensions), computes the result's shape symbolically, and
raises ``Unsupported`` where it cannot be right. Identical pure nodes are one node; unused nodes vanish at the end.
"""

from __future__ import annotations

from . import graph as g
from ._leaves import INLINE_LIMIT
from ._pointwise import BinaryKind, GluKind, UnaryKind
from ._products import HiddenKeys, ScatterKind, conv_size
from ._recurrent import Cell
from ._running import Running, ScanKind
from .dims import Dim, Shape
from .errors import IrError, Unsupported
from .serialize import serialize
from .types import DType, GgmlType
from .value import Kind, Value


class Builder(Running):
    """The whole builder; its parts are ``_leaves`` to ``_running``."""

    def add_output(self, name: str, v: Value, shape: Shape | None = None, dtype: DType | None = None) -> None:
        """The next result of the delegate: made dense, in the order of the calls."""
        if v.kind is Kind.INPUT and v.dtype.is_integer:
            # An integer that only passes through keeps its type if it fits ggml, as a copy.
            v = self.input_leaf(v, GgmlType.I64 if v.dtype is DType.INT64 else GgmlType.I32)
        elif v.kind is not Kind.NODE:
            v = self.f32(v)
        v = self.contiguous(v)
        self.graph.outputs.append(g.Output(name, v.node, dtype or v.dtype, shape or v.shape))

    def expect(self, key: str, json_value: str) -> None:
        """A fact that the GGUF's metadata must state for this graph to be its graph."""
        self.graph.expectations[key] = json_value

    def serialize(self) -> bytes:
        """The finished payload: dead nodes dropped, shapes and expressions shared."""
        return serialize(self.graph)


__all__ = [
    "INLINE_LIMIT",
    "BinaryKind",
    "Builder",
    "Cell",
    "DType",
    "Dim",
    "GgmlType",
    "GluKind",
    "HiddenKeys",
    "IrError",
    "Kind",
    "ScanKind",
    "ScatterKind",
    "Shape",
    "UnaryKind",
    "Unsupported",
    "Value",
    "conv_size",
]
