"""Minima and maxima: `amax`, `amin`, `max`, `min` over dimensions, `maximum`, `minimum` of two tensors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, DType, Value
from executorch_ggml.ir.dims import Shape

from ._nan import extremum
from .argmax import position
from .compare import greater, is_number
from .where import choose

_aten = torch.ops.aten


def _cases(fn: Callable[..., torch.Tensor]) -> list[Case]:
    ends = (float("inf"), -float("inf"), 0.0, 3e38, -1e-45)

    def odd(x: torch.Tensor) -> torch.Tensor:
        values = torch.tensor(ends) + x * 0.0
        return fn(values[:, None], values)

    def missing(x: torch.Tensor) -> torch.Tensor:
        holes = torch.log(x)  # NaN for negative numbers
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


def picked(b: Builder, x: Value, y: Value, shape: Shape, larger: bool, is_float: bool) -> Value:
    """The larger or smaller of two; a NaN on either side is the result, as in torch."""
    # Where x is NaN the comparison is false and picks y, so that y = NaN needs nothing more.
    picked = choose(b, greater(b, x, y, swapped=not larger), x, y, shape)
    return choose(b, is_number(b, x), picked, x, shape) if is_float else picked


def _chosen(b: Builder, n: NodeView, larger: bool) -> Value:
    n.require_exact()
    x, y = b.f32(n.tensor("self")), b.f32(n.tensor("other"))
    return picked(b, x, y, n.out.shape, larger, n.out.dtype.is_float).with_dtype(n.out.dtype)


@register(_aten.maximum.default, bounds=bounds.corners_of(max), cases=lambda: _cases(torch.maximum))
def maximum(b: Builder, n: NodeView) -> Value:
    """The larger of two."""
    return _chosen(b, n, True)


@register(_aten.minimum.default, bounds=bounds.corners_of(min), cases=lambda: _cases(torch.minimum))
def minimum(b: Builder, n: NodeView) -> Value:
    """The smaller of two."""
    return _chosen(b, n, False)


@register(
    _aten.amax.default,
    cases=lambda: [
        Case(lambda x: torch.amax(x, 1), [(3, 4, 5)]),
        Case(lambda x: torch.amax(x, (0, 2), keepdim=True), [(3, 4, 5)], name="two"),
        Case(lambda x: torch.amax(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def amax(b: Builder, n: NodeView) -> Value:
    """Maximum over any dimensions; NaN where there is one."""
    n.require_float()
    return extremum(b, n.tensor("self"), n.integers("dim"), n.flag("keepdim"), 1.0)


@register(
    _aten.amin.default,
    cases=lambda: [
        Case(lambda x: torch.amin(x, 1), [(3, 4, 5)]),
        Case(lambda x: torch.amin(x, (0, 2), keepdim=True), [(3, 4, 5)], name="two"),
        Case(lambda x: torch.amin(x), [(3, 4)], name="all"),
        Case(lambda x: torch.amin(x.permute(2, 0, 1), 1), [(3, 4, 5)], name="permuted"),
        Case(lambda x: torch.amin(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def amin(b: Builder, n: NodeView) -> Value:
    """Minimum over any dimensions; NaN where there is one."""
    n.require_float()
    return extremum(b, n.tensor("self"), n.integers("dim"), n.flag("keepdim"), -1.0)


@register(_aten.max.default, cases=lambda: [Case(torch.max, [(3, 4, 5)]), Case(torch.max, [()], name="rank 0")])
def max_all(b: Builder, n: NodeView) -> Value:
    """Maximum of everything."""
    n.require_float()
    return extremum(b, n.tensor("self"), [], False, 1.0)


@register(_aten.min.default, cases=lambda: [Case(torch.min, [(3, 4, 5)]), Case(torch.min, [()], name="rank 0")])
def min_all(b: Builder, n: NodeView) -> Value:
    """Minimum of everything."""
    n.require_float()
    return extremum(b, n.tensor("self"), [], False, -1.0)


def _both(b: Builder, n: NodeView, sign: float) -> tuple[Value | None, ...]:
    n.require_float()
    x = b.f32(n.tensor("self"))
    used = n.used_outputs()
    if x.rank == 0:
        return x, b.constant(np.zeros((), dtype=np.float32)).with_dtype(DType.INT64)
    dim = n.integer("dim")
    value = None
    if 1 not in used or 0 in used:
        value = extremum(b, x, [dim], n.flag("keepdim"), sign)
    return value, position(b, n, sign) if 1 in used else None


def _both_cases(name: str) -> list[Case]:
    fn = getattr(torch, name)
    return [
        Case(lambda x: tuple(fn(x, 1)), [(3, 4, 5)], name="both"),
        Case(lambda x: tuple(fn(x, 0, keepdim=True)), [(3, 4, 5)], name="keep"),
        Case(lambda x: fn(x, -1).values, [(3, 4, 5)], name="values"),
        Case(lambda x: fn(torch.relu(x), 1).indices, [(6, 9)], name="positions, ties"),
        Case(lambda x: fn(x, 1).values, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.max.dim, cases=lambda: _both_cases("max"))
def max_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Maximum along a dimension and the position of the first one."""
    return _both(b, n, 1.0)


@register(_aten.min.dim, cases=lambda: _both_cases("min"))
def min_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Minimum along a dimension and the position of the first one."""
    return _both(b, n, -1.0)
