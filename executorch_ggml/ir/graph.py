"""The graph under construction: plain records, before serialisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .dims import INT64_MAX, Shape
from .operators import operator
from .types import DType, GgmlType
from .value import Ne

Array = npt.NDArray[Any]

# Usage of a weight, as the IR numbers it.
MATMUL, ROWS, ELEMENTWISE = 0, 1, 2
GENERIC_STATE, KV_CACHE = 0, 1


class Activation(IntEnum):
    """Functions that a product can apply to its result, as the schema numbers them."""

    NONE = 0
    GELU_ERF = 1
    GELU_TANH = 2
    SILU = 3
    SIGMOID = 4
    HARD_SWISH = 5
    HARD_SIGMOID = 6


@dataclass(frozen=True)
class Epilogue:
    """``clamp(activation(y), min, max)`` of a product's result; the attribute ``then`` of MulMat, Conv2d and Conv3d."""

    activation: Activation = Activation.NONE
    min: float = float("-inf")
    max: float = float("inf")


@dataclass
class Node:
    """One IR node; ``attrs`` are the fields of its table in the schema.

    ``joined_handles``: debug handles of operations that became part of this node, in order; its value is that of the
    last one.
    """

    op: str
    src: tuple[int, ...]
    type: GgmlType
    ne: Ne
    attrs: dict[str, Any]
    strides: Ne
    debug_handle: int = 0
    state: int = -1
    joined_handles: tuple[int, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether it changes memory that existed before: it must run, in order, exactly once."""
        return operator(self.op).writes


@dataclass
class Input:
    """An argument of the delegate. ``kind``: 0 tensor, 1 int, 2 double, 3 bool.

    ``exact``: F32 holds every value that an integer argument can have.
    """

    name: str
    kind: int
    dtype: DType
    shape: Shape
    exact: bool = False


@dataclass
class Weight:
    """A parameter, buffer or lifted constant as the graph sees it, before it is decided how it is read.

    ``load`` gives the elements (float32, or the integer type) in torch layout; None when only the key is known.
    ``is_requantized``: ``type`` was changed after lowering; the stored bytes are those elements in that type.
    ``packed``: ``load`` gives the bytes of ``type`` instead, and nothing may read or change them.
    ``replaceable``: a file may bring other elements at load time, so nothing may be computed from these.
    """

    name: str
    parts: list[list[str]]
    shape: tuple[int, ...]
    dtype: DType
    type: GgmlType
    load: Callable[[], Array] | None = None
    is_requantized: bool = False
    packed: bool = False
    replaceable: bool = False


@dataclass
class WeightSlot:
    """One way in which a weight is read. Several slots may share a key."""

    weight: int
    usage: int
    type: GgmlType
    cast: GgmlType


@dataclass
class State:
    """A mutable buffer that the delegate owns."""

    name: str
    shape: tuple[int, ...]
    type: GgmlType
    kind: int
    initial: str = ""


@dataclass
class Symbol:
    """A named dimension; ``source`` is (kind, attributes) of the SymbolSource union, None while unbound.

    ``least``: the minimum to write instead of ``min`` if the graph holds there. ``may_be_empty``: a call may bind a
    dimension of an input to 0, if the graph holds from 1 on.
    """

    name: str
    min: int = 0
    max: int = INT64_MAX
    source: tuple[str, dict[str, int]] | None = None
    least: int | None = None
    may_be_empty: bool = False


@dataclass
class Constant:
    """A small literal."""

    data: Array
    type: GgmlType
    ne: Ne


@dataclass
class Output:
    """A result of the delegate, in order."""

    name: str
    node: int
    dtype: DType
    shape: Shape


@dataclass
class Graph:
    """Everything that goes into one payload."""

    name: str = ""
    producer: str = "executorch-ggml"
    symbols: list[Symbol] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    slots: list[WeightSlot] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    expectations: dict[str, str] = field(default_factory=dict)
    replacements: list[tuple[Any, Any]] = field(default_factory=list)
    """Dimension expressions (old, new) to rewrite before encoding, in order: how symbols that are not a bare input
    dimension follow from those that are."""

    def used_slots(self) -> list[int]:
        """Indices of the weight slots that live nodes read, in order of first use."""
        found: dict[int, None] = {}
        for index in self.live():
            if self.nodes[index].op == "WeightLeaf":
                found[self.nodes[index].attrs["slot"]] = None
        return list(found)

    def used_weights(self) -> list[int]:
        """Indices of the weights that live nodes read."""
        return list(dict.fromkeys(self.slots[s].weight for s in self.used_slots()))

    def live(self) -> list[int]:
        """Indices of the nodes that outputs and effects need, in order."""
        needed = {o.node for o in self.outputs}
        keep: list[int] = []
        for index in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[index]
            if index in needed or node.writes:
                keep.append(index)
                needed.update(node.src)
        return keep[::-1]


def as_bytes(array: npt.NDArray[Any]) -> bytes:
    """Row-major bytes of an array."""
    return np.ascontiguousarray(array).tobytes()
