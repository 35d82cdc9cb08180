"""`clamp`, `clamp_min`, `clamp_max`: between two numbers, or between two tensors."""

from __future__ import annotations

import math

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

from .min_max import picked

_aten = torch.ops.aten


_INF = float("inf")


def held(b: Builder, x: Value, low: float, high: float) -> Value:
    """min(max(x, low), high) as torch has it: a bound that is NaN makes everything NaN."""
    if math.isnan(low) or math.isnan(high):
        return b.fill(math.nan, x.shape)
    # torch yields the upper bound where the bounds cross; ggml's order of comparisons need not.
    return b.clamp(x, min(low, high), high, keeps_nan=True)


@register(
    _aten.clamp.default,
    bounds=bounds.clamp,
    cases=lambda: [
        Case(lambda x: torch.clamp(x, -1, 1.5), [(3, 5)], name="both"),
        Case(lambda x: torch.clamp(x, min=0.5), [(3, 5)], name="min"),
        Case(lambda x: torch.clamp(x, max=-0.5), [(2, 3, 4)], name="max"),
        Case(lambda x: torch.clamp(x, 2.0, -2.0), [(3, 5)], name="crossed"),
        Case(lambda x: torch.clamp(x, 0, 1), [Arg((3, 5), torch.int64, 0, 9)], refused="int64", name="int"),
        Case(lambda x: x + torch.clamp(torch.arange(5), 1, 3), [(3, 5)], name="bounded int"),
        Case(lambda x: x + torch.clamp(torch.arange(5), 0.5, 2.5), [(3, 5)], name="bounded int, float bounds"),
    ],
)
def clamp(b: Builder, n: NodeView) -> Value:
    """min(max(x, low), high); either bound may be missing."""
    n.require_exact()
    low = n.number("min") if n.has("min") else -_INF
    high = n.number("max") if n.has("max") else _INF
    return held(b, n.tensor("self"), low, high).with_dtype(n.out.dtype)


@register(_aten.clamp_min.default, cases=lambda: [Case(lambda x: torch.clamp_min(x, 0.3), [(3, 5)])])
def clamp_min(b: Builder, n: NodeView) -> Value:
    """max(x, low)."""
    n.require_float()
    return held(b, n.tensor("self"), n.number("min"), _INF)


@register(_aten.clamp_max.default, cases=lambda: [Case(lambda x: torch.clamp_max(x, 0.3), [(3, 5)])])
def clamp_max(b: Builder, n: NodeView) -> Value:
    """min(x, high)."""
    n.require_float()
    return held(b, n.tensor("self"), -_INF, n.number("max"))


def _clamp_cases() -> list[Case]:
    low, high = torch.tensor([-1.0, 0.0, 1.0, -2.0, 0.5]), torch.tensor(1.5)
    return [
        Case(lambda x: torch.clamp(x, low, high), [(3, 5)]),
        Case(lambda x: torch.clamp(x, max=low), [(3, 5)], name="above only"),
        Case(lambda x, y: torch.clamp(x, y), [(3, 5), (3, 1)], name="below only, an input"),
        Case(lambda x: torch.clamp(x, low, high), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.clamp.Tensor, bounds=bounds.clamp, cases=_clamp_cases)
def clamp_tensors(b: Builder, n: NodeView) -> Value:
    """Held between two tensors, the upper one last."""
    n.require_float()
    x, shape = b.expand(b.f32(n.tensor("self")), n.out.shape), n.out.shape
    for name, larger in (("min", True), ("max", False)):
        limit = n.opt_tensor(name)
        if limit is not None:
            x = picked(b, x, b.f32(limit), shape, larger, True)
    return x
