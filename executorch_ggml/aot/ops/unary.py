"""Other functions of each element: `abs`, `neg`, `sqrt`, `rsqrt`, `reciprocal`, `sin`, `cos`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import NodeView, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._fp16 import as_stored
from ._unary import register_unary, unary_cases

_aten = torch.ops.aten


register_unary(_aten.abs.default, UnaryKind.ABS, torch.abs, whole=True, bounds=bounds.absolute)


register_unary(_aten.neg.default, UnaryKind.NEG, torch.neg, whole=True, bounds=bounds.negated, ahead_of_time=True)


register_unary(_aten.sqrt.default, UnaryKind.SQRT, torch.sqrt, low=0.0, jumps=True)


register_unary(_aten.sin.default, UnaryKind.SIN, torch.sin, ahead_of_time=True)


register_unary(_aten.cos.default, UnaryKind.COS, torch.cos, ahead_of_time=True)


@register(_aten.rsqrt.default, cases=lambda: unary_cases(torch.rsqrt, low=0.05))
def rsqrt(b: Builder, n: NodeView) -> Value:
    """1 / sqrt(x)."""
    n.require_float()
    return b.reciprocal(b.unary(UnaryKind.SQRT, as_stored(b, n.tensor("self"))))


@register(_aten.reciprocal.default, ahead_of_time=True, cases=lambda: unary_cases(torch.reciprocal, low=0.05))
def reciprocal(b: Builder, n: NodeView) -> Value:
    """1 / x."""
    n.require_float()
    return b.reciprocal(as_stored(b, n.tensor("self")))
