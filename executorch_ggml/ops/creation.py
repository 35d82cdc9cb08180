"""Float tensors of one value."""

from __future__ import annotations

import torch

from ..ir.builder import Builder, Value
from ..registry import Case, NodeView, Unsupported, register

_aten = torch.ops.aten


@register(
    _aten.full.default,
    _aten.full_like.default,
    trivial=True,
    cases=lambda: [
        Case(lambda x: x + torch.full((3, 5), 2.5), [(3, 5)]),
        Case(lambda x: x * torch.full_like(x, -1.5), [(3, 5)], name="like"),
        Case(lambda x: x * torch.full_like(x, 0.5), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def full(b: Builder, n: NodeView) -> Value:
    """A tensor of one value."""
    n.require_float()
    return b.fill(n.number("fill_value"), n.out.shape)


@register(_aten.zeros.default, _aten.zeros_like.default, trivial=True)
def zeros(b: Builder, n: NodeView) -> Value:
    """Zeros."""
    n.require_float()
    return b.fill(0.0, n.out.shape)


@register(_aten.ones.default, _aten.ones_like.default, trivial=True)
def ones(b: Builder, n: NodeView) -> Value:
    """Ones."""
    n.require_float()
    return b.fill(1.0, n.out.shape)


@register(_aten.scalar_tensor.default, trivial=True)
def scalar_tensor(b: Builder, n: NodeView) -> Value:
    """A tensor of rank 0."""
    n.require_float()
    if n.out.rank:
        raise Unsupported("scalar_tensor of a rank")
    return b.fill(n.number("s"), ())
