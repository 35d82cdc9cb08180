"""Value: the operand of a lowering, a torch tensor on its way into the graph."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any

from .dims import Dim, Shape, is_one, product, same, shape_of
from .types import DType, GgmlType

Ne = tuple[Any, Any, Any, Any]
"""Four dimensions in ggml order (fastest first)."""


class Kind(enum.Enum):
    """Where a value comes from.

    INPUT and WEIGHT are undecided: their storage depends on their readers, so the leaf is made by the first
    operation that does (``Builder.f32``, ``ids``, ``mask``, ``mul_mat`` ...).
    """

    NODE = "node"
    INPUT = "input"
    WEIGHT = "weight"


def fold(shape: Shape) -> Ne:
    """ggml dimensions of a torch shape: reversed, padded with ones; above rank 4 the leading dimensions merge."""
    if len(shape) > 4:
        shape = (product(shape[:-3]), *shape[-3:])
    ne = tuple(reversed(shape)) + (1,) * (4 - len(shape))
    return (ne[0], ne[1], ne[2], ne[3])


def contiguous_strides(ne: Ne) -> Ne:
    """Element strides of a dense tensor."""
    s1 = ne[0]
    s2 = product((s1, ne[1]))
    return (1, s1, s2, product((s2, ne[2])))


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor in a graph under construction.

    Attributes:
        shape: torch shape, ``int`` or sympy per dimension.
        dtype: the torch type it stands for; floats are computed in F32 in any case.
        type: how ggml stores it; ANY while undecided, or for a weight with the GGUF's type.
        ne: ggml dimensions (``fold(shape)``; above rank 4 always dense).
        strides: element strides, ggml order.
        node: index of the defining node (kind NODE).
        ref: index of the input or weight (kinds INPUT and WEIGHT).
        swapped: an undecided weight with its last two dimensions read transposed.
        state: index of the state slot with this memory (a state itself, or a view of one), -1 for none.
    """

    kind: Kind
    shape: Shape
    dtype: DType
    type: GgmlType
    ne: Ne
    strides: Ne
    node: int = -1
    ref: int = -1
    swapped: bool = False
    state: int = -1

    @property
    def rank(self) -> int:
        """Number of torch dimensions."""
        return len(self.shape)

    @property
    def numel(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements provably lie densely in ggml order."""
        return all(
            is_one(n) or same(s, c) for n, s, c in zip(self.ne, self.strides, contiguous_strides(self.ne), strict=True)
        )

    @property
    def rows_are_dense(self) -> bool:
        """Whether each row (the last torch dimension) is dense in memory."""
        return is_one(self.ne[0]) or same(self.strides[0], 1)

    @property
    def layout(self) -> str:
        """``contiguous``, ``strided`` (dense rows) or ``permuted``."""
        if self.is_contiguous:
            return "contiguous"
        return "strided" if self.rows_are_dense else "permuted"

    def with_shape(self, shape: Shape) -> Value:
        """The same storage read with another torch shape of the same ggml dimensions (leading ones)."""
        return replace(self, shape=shape_of(shape))

    def with_dtype(self, dtype: DType) -> Value:
        """The same storage standing for another torch type."""
        return replace(self, dtype=dtype)
