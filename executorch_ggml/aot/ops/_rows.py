"""A dimension moved to the end and back, for operators on rows. Registers no operator."""

from __future__ import annotations

from executorch_ggml.aot.registry import NodeView
from executorch_ggml.ir.builder import Builder, Value


def rows_last(b: Builder, n: NodeView, x: Value | None = None) -> tuple[Value, int]:
    x = b.f32(n.tensor("self") if x is None else x)
    if x.rank == 0:
        return b.reshape(x, (1,)), 0
    dim = n.integer("dim") % x.rank
    return (x if dim == x.rank - 1 else b.contiguous(b.transpose(x, dim, -1))), dim


def rows_back(b: Builder, n: NodeView, v: Value, dim: int) -> Value:
    """Rows along the last dimension, moved to ``dim``."""
    if n.out.rank == 0:
        return b.reshape(v, ())
    return v if dim == v.rank - 1 else b.transpose(v, dim, -1)
