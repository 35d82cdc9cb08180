"""Elements in another order along a dimension."""

from __future__ import annotations

import numpy as np
import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, Value
from executorch_ggml.ir.dims import product, static

_aten = torch.ops.aten


@register(
    _aten.roll.default,
    keep=True,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: torch.roll(x, 2, 1), [(3, 5)]),
        Case(lambda x: torch.roll(x, (-1, 7), (0, 2)), [(3, 4, 5)], name="two"),
        Case(lambda x: torch.roll(x, (2, 2), (1, 2)), [(2, 6, 6, 3)], name="windows"),
        Case(lambda x: torch.roll(x, 3), [(3, 4)], name="flattened"),
    ],
)
def roll(b: Builder, n: NodeView) -> Value:
    """Entries moved on, those that fall off the end coming in at the front."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    shifts, dims = n.integers("shifts"), n.integers("dims")
    if not dims:
        flat = _rolled(b, b.reshape(b.contiguous(x), (product(x.shape),)), 0, shifts[0])
        return b.reshape(flat, x.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        x = _rolled(b, x, dim % x.rank, shift)
    return x


def _rolled(b: Builder, x: Value, dim: int, shift: int) -> Value:
    size = static(x.shape[dim], "the rolled dimension")
    first = -shift % size if size else 0
    if not first:
        return x
    return b.concat([b.slice(x, dim, first, size - first), b.slice(x, dim, 0, first)], dim)


@register(
    _aten.flip.default,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: torch.flip(x, (0,)), [(5, 3)]),
        Case(lambda x: torch.flip(x, (1,)), [(2, 4, 3)], name="middle"),
        Case(lambda x: torch.flip(x, (-1, 0)), [(2, 3, 4)], name="two"),
        Case(lambda x: torch.flip(x.t(), (0,)), [(5, 3)], name="transposed"),
        Case(lambda x: torch.flip(x, (3,)), [(2, 3, 2, 4, 2)], name="rank 5"),
        Case(lambda x: torch.flip(x, (0,)), [(3, 5)], dynamic=[{1: ("n", 1, 9)}], name="dynamic"),
    ],
)
def flip(b: Builder, n: NodeView) -> Value:
    """Reversed along dimensions: rows fetched from the last to the first."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    for dim in {d % x.rank for d in n.integers("dims")} if x.rank else ():
        x = flipped(b, x, dim)
    return x


def flipped(b: Builder, x: Value, dim: int) -> Value:
    """A value reversed along a dimension of static size."""
    size = static(x.shape[dim], "the reversed dimension")
    if size < 2:
        return x
    order = [dim, *(d for d in range(x.rank) if d != dim)]
    rows = b.contiguous(b.permute(x, order))
    backwards = b.constant(np.arange(size - 1, -1, -1), DType.INT64, GgmlType.I32)
    flat = b.get_rows(b.reshape(rows, (size, product(rows.shape[1:]))), backwards)
    return b.permute(b.reshape(flat, rows.shape), [order.index(d) for d in range(x.rank)])
