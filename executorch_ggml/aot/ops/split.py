"""`split`, `split_with_sizes`, `chunk`, `unbind`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Dim, Value
from executorch_ggml.ir.dims import simplify, static

_aten = torch.ops.aten


def _split(b: Builder, x: Value, dim: int, sizes: list[Dim]) -> tuple[Value | None, ...]:
    parts: list[Value | None] = []
    start: Dim = 0
    for size in sizes:
        parts.append(b.slice(x, dim, start, size))
        start = simplify(start + size)
    return tuple(parts)


@register(
    _aten.split_with_sizes.default,
    _aten.split_with_sizes_copy.default,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: [torch.relu(p) for p in x.split([1, 2, 3], dim=1)], [(2, 6)]),
        Case(lambda x: torch.relu(x.split([1, 2, 3], dim=0)[1]), [(6, 2, 2)], name="one used"),
    ],
)
def split_with_sizes(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Pieces of given sizes."""
    x = b.decided(n.tensor("self"))
    return _split(b, x, n.integer("dim") % x.rank, list(n.dims("split_sizes")))


@register(
    _aten.split.Tensor,
    _aten.split_copy.Tensor,
    _aten.chunk.default,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: [torch.relu(p) for p in x.split(2, dim=1)], [(2, 5)]),
        Case(lambda x: [torch.relu(p) for p in x.chunk(3, dim=-1)], [(2, 6)], name="chunk"),
    ],
)
def split(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Pieces of equal size (the last may be smaller)."""
    x = b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    return _split(b, x, dim, [o.shape[dim] for o in n.outs])


@register(
    _aten.unbind.int,
    _aten.unbind_copy.int,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [Case(lambda x: [torch.relu(p) for p in x.unbind(1)], [(2, 3, 4)])],
)
def unbind(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Every entry along a dimension."""
    x = b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    return tuple(b.select(x, dim, i) for i in range(static(x.shape[dim], "unbind")))
