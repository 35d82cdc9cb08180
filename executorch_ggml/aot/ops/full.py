"""Tensors of one value: `full`, `full_like`, `zeros`, `zeros_like`, `ones`, `ones_like`, `scalar_tensor`, `new_full`,
`new_zeros`, `new_ones`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import Builder, Value

_aten = torch.ops.aten


declare("new_full", bounds=bounds.argument(2))


declare("new_zeros", bounds=bounds.constant(0))


declare("new_ones", bounds=bounds.constant(1))


@register(
    _aten.full.default,
    _aten.full_like.default,
    moves=True,
    bounds=bounds.argument(1),
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: x + torch.full((3, 5), 2.5), [(3, 5)]),
        Case(lambda x: x * torch.full_like(x, -1.5), [(3, 5)], name="like"),
        Case(lambda x: x * torch.full_like(x, 0.5), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def full(b: Builder, n: NodeView) -> Value:
    """A tensor of one value."""
    n.require_exact()
    return b.fill(n.number("fill_value"), n.out.shape).with_dtype(n.out.dtype)


@register(_aten.zeros.default, _aten.zeros_like.default, moves=True, bounds=bounds.constant(0))
def zeros(b: Builder, n: NodeView) -> Value:
    """Zeros."""
    n.require_exact()
    return b.fill(0.0, n.out.shape).with_dtype(n.out.dtype)


@register(_aten.ones.default, _aten.ones_like.default, moves=True, bounds=bounds.constant(1), ahead_of_time=True)
def ones(b: Builder, n: NodeView) -> Value:
    """Ones."""
    n.require_exact()
    return b.fill(1.0, n.out.shape).with_dtype(n.out.dtype)


@register(_aten.scalar_tensor.default, moves=True, bounds=bounds.argument(0))
def scalar_tensor(b: Builder, n: NodeView) -> Value:
    """A tensor of rank 0."""
    n.require_exact()
    if n.out.rank:
        raise Unsupported("scalar_tensor of a rank")
    if not isinstance(n.raw("s"), (int, float)):
        raise Unsupported("a size stays with ExecuTorch")
    return b.fill(n.number("s"), ()).with_dtype(n.out.dtype)
