"""The larger or the smaller of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..ir.builder import Builder, Value
from ..registry import Case, NodeView, register
from .compare import equal, greater
from .select import choose

_aten = torch.ops.aten


def _cases(fn: Callable[..., torch.Tensor]) -> list[Case]:
    ends = (float("inf"), -float("inf"), 0.0, 3e38, -1e-45)

    def odd(x: torch.Tensor) -> torch.Tensor:
        values = torch.tensor(ends) + x * 0.0
        return fn(values[:, None], values)

    def missing(x: torch.Tensor) -> torch.Tensor:
        holes = torch.log(x)  # NaN for what is negative
        both = torch.stack([fn(holes, x), fn(x, holes)])
        return torch.where(both == both, both, 77.0)

    return [
        Case(fn, [(3, 5), (3, 5)]),
        Case(fn, [(3, 1), (2, 1, 5)], name="broadcast"),
        Case(lambda x, y: fn(x.t(), y), [(5, 3), (3, 5)], name="transposed"),
        Case(lambda x: fn(x, torch.tensor(0.5)), [(2, 3, 4, 5)], name="number"),
        Case(odd, [(1,)], name="ends"),
        Case(missing, [(3, 5)], name="NaN"),
        Case(fn, [(5, 3), (3,)], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
    ]


def _chosen(b: Builder, n: NodeView, larger: bool) -> Value:
    """What a comparison picks; a NaN on either side is the result, as in torch."""
    n.require_exact()
    x, y, shape = b.f32(n.tensor("self")), b.f32(n.tensor("other")), n.out.shape
    # Where x is NaN the comparison is false and picks y, so that y = NaN needs nothing more.
    picked = choose(b, greater(b, x, y, swapped=not larger), x, y, shape)
    if n.out.dtype.is_float:
        picked = choose(b, equal(b, x, x, whole=False), picked, x, shape)
    return picked.with_dtype(n.out.dtype)


@register(_aten.maximum.default, cases=lambda: _cases(torch.maximum))
def maximum(b: Builder, n: NodeView) -> Value:
    """The larger of two."""
    return _chosen(b, n, True)


@register(_aten.minimum.default, cases=lambda: _cases(torch.minimum))
def minimum(b: Builder, n: NodeView) -> Value:
    """The smaller of two."""
    return _chosen(b, n, False)
