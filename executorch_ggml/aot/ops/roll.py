"""`roll`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value
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
