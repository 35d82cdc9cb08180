"""Exponentials: `exp`, `exp2`, `expm1`."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._unary import register_unary, unary_cases

_aten = torch.ops.aten


register_unary(_aten.exp.default, UnaryKind.EXP, torch.exp, ahead_of_time=True)


@register(_aten.exp2.default, keep=True, cases=lambda: unary_cases(torch.exp2, tolerance=1e-8))
def exp2(b: Builder, n: NodeView) -> Value:
    """2 ** x."""
    n.require_float()
    return b.unary(UnaryKind.POWER_OF, n.tensor("self"), 2.0)


@register(
    _aten.expm1.default, cases=lambda: [*unary_cases(torch.expm1), Case(lambda x: torch.expm1(x * 1e-6), [(3, 5)])]
)
def expm1(b: Builder, n: NodeView) -> Value:
    """exp(x) - 1, with all digits near 0."""
    n.require_float()
    return b.unary(UnaryKind.EXPM1, n.tensor("self"))
