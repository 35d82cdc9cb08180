"""Arithmetic with torch's broadcasting: `add`, `sub`, `rsub`, `mul`, `div`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import BinaryKind, Builder, Kind, UnaryKind, Value
from executorch_ggml.ir.dims import same_shape

from ._fp16 import as_stored, number_as_stored

declare("fmod", "remainder", bounds=bounds.remainder)


_aten = torch.ops.aten

_PAIRS = [
    ((3, 5), (3, 5)),
    ((4, 4), (4, 4)),
    ((3, 5), (5,)),
    ((5,), (3, 5)),
    ((3, 5), (3, 1)),
    ((3, 1), (3, 5)),
    ((4, 1), (1, 4)),
    ((2, 5, 1), (1, 1, 5)),
    ((4, 1, 4), (4, 4)),
    ((2, 3, 4, 5), (3, 1, 5)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
    ((2, 3, 2, 4, 3), (2, 1, 2, 1, 3)),
    ((2, 1, 2, 1, 3), (1, 3, 1, 4, 3)),
    ((2, 1, 2, 1, 3, 1), (1, 3, 1, 4, 1, 2)),
    ((1,), (3, 5)),
    ((), (3, 5)),
]


def _cases(fn: Callable[..., Any], low: float = -3.0) -> list[Case]:
    cases = [Case(fn, [Arg(a, low=low), Arg(b, low=low)], name=f"{a} {b}") for a, b in _PAIRS]
    cases += [
        Case(
            lambda x, y: fn(x.transpose(0, 1), y), [Arg((3, 5), low=low), Arg((5, 3), low=low)], name="transposed left"
        ),
        Case(lambda x, y: fn(x, y.t()), [Arg((4, 4), low=low), Arg((4, 4), low=low)], name="transposed right"),
        Case(
            lambda x, y: fn(x.permute(1, 2, 0), y.permute(2, 0, 1)),
            [Arg((4, 2, 3), low=low), Arg((3, 4, 2), low=low)],
            name="permuted",
        ),
        Case(fn, [Arg((5, 3), low=low), Arg((3,), low=low)], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
        Case(
            fn,
            [Arg((1, 3), low=low), Arg((5, 1), low=low)],
            dynamic=[{}, {0: ("n", 2, 9)}],
            name="dynamic both broadcast",
        ),
    ]
    return cases


_INTEGERS = Arg((3, 5), torch.int64, -9, 9)


def _scalar_or_tensor(b: Builder, n: NodeView, name: str) -> Value | float:
    """A number when it is known ahead of time (then it becomes part of the operation), else a value."""
    number = n.scalar(name)
    # A constant tensor of one element but rank > 0 may still add dimensions to the result.
    if number is not None and (not n.is_tensor(name) or n.meta(name).rank <= n.meta("self").rank):
        return number
    return n.tensor(name)


@register(
    _aten.add.Tensor,
    _aten.add.Scalar,
    bounds=bounds.added(1),
    ahead_of_time=True,
    cases=lambda: [
        *_cases(torch.add),
        Case(lambda x, y: torch.add(x, y, alpha=2.5), [(3, 5), (5,)], name="alpha"),
        Case(lambda x, y: torch.add(x, y, alpha=-3), [(5,), (3, 5)], name="alpha left broadcast"),
        Case(lambda x: x + 1.5, [(3, 5)], name="scalar"),
        Case(lambda x: torch.add(x, 2, alpha=4), [(3, 5)], name="scalar alpha"),
        Case(lambda x, y: x + y, [_INTEGERS, _INTEGERS], refused="int64", name="int"),
    ],
)
def add(b: Builder, n: NodeView) -> Value:
    """self + alpha * other."""
    n.require_exact()
    return _sum(b, n, 1.0)


@register(
    _aten.sub.Tensor,
    _aten.sub.Scalar,
    bounds=bounds.added(-1),
    ahead_of_time=True,
    cases=lambda: [
        *_cases(torch.sub),
        Case(lambda x, y: torch.sub(x, y, alpha=2.5), [(3, 5), (5,)], name="alpha"),
        Case(lambda x: x - 1.5, [(3, 5)], name="scalar"),
        Case(lambda x: x - torch.tanh(x), [Arg((3, 5), low=-0.05, high=0.05)], name="tanhshrink", tolerance=1e-6),
    ],
)
def sub(b: Builder, n: NodeView) -> Value:
    """self - alpha * other."""
    n.require_exact()
    return _sum(b, n, -1.0)


@register(
    _aten.rsub.Scalar,
    _aten.rsub.Tensor,
    cases=lambda: [Case(lambda x: 1.5 - x, [(3, 5)]), Case(lambda x, y: torch.rsub(x, y, alpha=2), [(3, 5), (5,)])],
)
def rsub(b: Builder, n: NodeView) -> Value:
    """other - alpha * self."""
    n.require_exact()
    other = _scalar_or_tensor(b, n, "other")
    scaled = b.scale(n.tensor("self"), number_as_stored(n.number("alpha"), n.out.dtype))
    if isinstance(other, float):
        return b.scale(scaled, -1.0, number_as_stored(other, n.out.dtype))
    return b.binary(BinaryKind.SUB, other, scaled)


def _sum(b: Builder, n: NodeView, sign: float) -> Value:
    alpha = number_as_stored(n.number("alpha"), n.out.dtype)
    left = n.scalar("self")
    other = _scalar_or_tensor(b, n, "other")
    if isinstance(other, float):
        return _plus(b, n.tensor("self"), sign * alpha * number_as_stored(other, n.out.dtype))
    if left is not None and n.meta("self").rank <= other.rank:
        return b.scale(other, sign * alpha, left)
    x = n.tensor("self")
    if alpha * sign == -1.0 and _is_tanh_of(b, other, x):
        return b.unary(UnaryKind.TANHSHRINK, x)
    if alpha == 1.0:
        return b.binary(BinaryKind.ADD if sign > 0 else BinaryKind.SUB, x, other)
    return b.add(x, b.scale(other, sign * alpha))


def _plus(b: Builder, x: Value, number: float) -> Value:
    """x + number, where -0.0 + 0.0 is 0.0."""
    if number == 0.0 and math.copysign(1.0, number) > 0 and x.dtype.is_float:
        return b.add(x, b.constant(torch.zeros((1,) if x.rank else ()).numpy())).with_dtype(x.dtype)
    return b.scale(x, 1.0, number)


def _is_tanh_of(b: Builder, v: Value, x: Value) -> bool:
    """Whether ``v`` is tanh(x): the difference x - tanh(x) keeps few digits near 0, a function of its own keeps all."""
    node = b.graph.nodes[v.node] if v.kind is Kind.NODE else None
    if node is None or node.op != "Unary" or node.attrs["kind"] != UnaryKind.TANH:
        return False
    source = b.contiguous(b.f32(x))
    return same_shape(v.shape, x.shape) and source.kind is Kind.NODE and source.node == node.src[0]


@register(
    _aten.mul.Tensor,
    _aten.mul.Scalar,
    bounds=bounds.corners_of(operator.mul),
    ahead_of_time=True,
    cases=lambda: [
        *_cases(torch.mul),
        Case(lambda x: x * 1.5, [(3, 5)], name="scalar"),
        Case(lambda x: 2 * x.t(), [(3, 5)], name="scalar transposed"),
        Case(lambda x, y: x * y, [_INTEGERS, _INTEGERS], refused="int64", name="int"),
    ],
)
def mul(b: Builder, n: NodeView) -> Value:
    """self * other."""
    n.require_exact()
    left = n.scalar("self")
    other = _scalar_or_tensor(b, n, "other")
    if isinstance(other, float):
        return b.scale(n.tensor("self"), other)
    if left is not None and n.meta("self").rank <= other.rank:
        return b.scale(other, left)
    return b.mul(n.tensor("self"), other)


@register(
    _aten.div.Tensor,
    _aten.div.Scalar,
    ahead_of_time=True,
    cases=lambda: [
        *_cases(torch.div, low=0.3),
        Case(lambda x: x / 3.0, [(3, 5)], name="scalar"),
        Case(lambda x: x / 3.0, [()], name="no dimensions"),
        Case(lambda x: 3.0 / x, [Arg((3, 5), low=0.3)], name="of scalar"),
    ],
)
def div(b: Builder, n: NodeView) -> Value:
    """self / other."""
    n.require_float()
    return _quotient(b, n.tensor("self"), n)


def _quotient(b: Builder, x: Value, n: NodeView) -> Value:
    other = _scalar_or_tensor(b, n, "other")
    if isinstance(other, float):
        shape = (1,) if x.rank else ()
        if other == 0.0:
            other = n.tensor("other") if n.is_tensor("other") else b.constant(torch.zeros(shape).numpy())
        elif _has_inverse(other):
            return b.scale(x, 1.0 / other)
        else:
            # x * (1/c) rounds twice; x / c once, as torch does.
            return b.binary(BinaryKind.DIV, x, b.constant(torch.full(shape, other).numpy()))
    return b.binary(BinaryKind.DIV, x, as_stored(b, other))


def _has_inverse(x: float) -> bool:
    """Whether 1 / x is exact and within the range of F32."""
    return abs(math.frexp(x)[0]) == 0.5 and 2.0**-126 <= abs(x) <= 2.0**126


@register(
    _aten.div.Tensor_mode,
    _aten.div.Scalar_mode,
    cases=lambda: [
        Case(lambda x, y: torch.div(x, y, rounding_mode="trunc"), [(3, 5), Arg((3, 5), low=0.3)], name="trunc"),
        Case(lambda x, y: torch.div(x, y, rounding_mode=None), [(3, 5), Arg((5,), low=0.3)], name="none"),
    ],
)
def div_mode(b: Builder, n: NodeView) -> Value:
    """Quotient, rounded towards zero if asked."""
    n.require_float()
    mode = n.text("rounding_mode")
    if mode == "floor":
        # torch corrects the quotient by the exact remainder (1.0 // 0.1 is 9); flooring it gives 10. A pass does it.
        raise Unsupported("floor division needs an exact remainder, which ggml has no function for")
    if mode != "trunc":
        return _quotient(b, n.tensor("self"), n)
    # torch rounds a quotient of two float16 tensors before it truncates it. It keeps the digits of one by a number.
    return b.unary(UnaryKind.TRUNC, as_stored(b, _quotient(b, as_stored(b, n.tensor("self")), n)))
