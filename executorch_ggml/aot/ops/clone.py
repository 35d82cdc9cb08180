"""Copies that change nothing: `clone`, `contiguous`, `alias`, `detach`, `lift_fresh_copy`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

from ._views import with_relu

_aten = torch.ops.aten


@register(
    _aten.clone.default,
    _aten.alias.default,
    _aten.alias_copy.default,
    _aten.detach.default,
    _aten.detach_copy.default,
    _aten.lift_fresh_copy.default,
    _aten.contiguous.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.t().clone(memory_format=torch.contiguous_format)), [(3, 5)]),
        Case(lambda x: x.clone() + x.detach(), [(3, 5)], name="both"),
    ],
)
def clone(b: Builder, n: NodeView) -> Value:
    """The value itself: values do not change, so a copy is not needed."""
    return n.tensor("self")
