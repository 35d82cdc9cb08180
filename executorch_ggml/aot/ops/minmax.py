"""The larger or the smaller of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import Shape

from .compare import greater, is_number
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


def _picked(b: Builder, x: Value, y: Value, shape: Shape, larger: bool, is_float: bool) -> Value:
    """What a comparison picks; a NaN on either side is the result, as in torch."""
    # Where x is NaN the comparison is false and picks y, so that y = NaN needs nothing more.
    picked = choose(b, greater(b, x, y, swapped=not larger), x, y, shape)
    return choose(b, is_number(b, x), picked, x, shape) if is_float else picked


def _chosen(b: Builder, n: NodeView, larger: bool) -> Value:
    n.require_exact()
    x, y = b.f32(n.tensor("self")), b.f32(n.tensor("other"))
    return _picked(b, x, y, n.out.shape, larger, n.out.dtype.is_float).with_dtype(n.out.dtype)


@register(_aten.maximum.default, bounds=bounds.corners_of(max), cases=lambda: _cases(torch.maximum))
def maximum(b: Builder, n: NodeView) -> Value:
    """The larger of two."""
    return _chosen(b, n, True)


@register(_aten.minimum.default, bounds=bounds.corners_of(min), cases=lambda: _cases(torch.minimum))
def minimum(b: Builder, n: NodeView) -> Value:
    """The smaller of two."""
    return _chosen(b, n, False)


def _clamp_cases() -> list[Case]:
    low, high = torch.tensor([-1.0, 0.0, 1.0, -2.0, 0.5]), torch.tensor(1.5)
    return [
        Case(lambda x: torch.clamp(x, low, high), [(3, 5)]),
        Case(lambda x: torch.clamp(x, max=low), [(3, 5)], name="above only"),
        Case(lambda x, y: torch.clamp(x, y), [(3, 5), (3, 1)], name="below only, an input"),
        Case(lambda x: torch.clamp(x, low, high), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.clamp.Tensor, bounds=bounds.clamp, cases=_clamp_cases)
def clamp(b: Builder, n: NodeView) -> Value:
    """Held between two tensors, the upper one last."""
    n.require_float()
    x, shape = b.expand(b.f32(n.tensor("self")), n.out.shape), n.out.shape
    for name, larger in (("min", True), ("max", False)):
        limit = n.opt_tensor(name)
        if limit is not None:
            x = _picked(b, x, b.f32(limit), shape, larger, True)
    return x
