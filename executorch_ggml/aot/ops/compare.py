"""Comparisons: 1 where true, 0 where not, as float elements that stand for booleans.

Integers differ by at least 1, so half of that decides. Floats are compared exactly: a difference is zero only between
equal numbers (subnormals are kept), an infinity equals itself, and nothing equals a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.bounds import EXACT
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value

from ._stored import as_stored

_aten = torch.ops.aten
# Any distance but zero, times the first, is more than the second. Neither is subnormal: GPUs take those for zero.
_FAR, _NEAR = 2.0**100, 2.0**-126
_LARGEST = 3.4028234663852886e38

_INF = float("inf")


def _pair(b: Builder, n: NodeView) -> tuple[Value, Value | float, bool]:
    """Both operands, the second as a number when it is one, and whether both are integers."""
    whole = not n.meta("self").dtype.is_float
    if n.is_tensor("other"):
        whole = whole and not n.meta("other").dtype.is_float
        number = n.scalar("other") if not n.meta("other").rank else None
        if number is None:
            return as_stored(b, n.tensor("self")), as_stored(b, n.tensor("other")), whole
    else:
        number = n.number("other")
    if math.isnan(number) or math.isinf(number):
        raise Unsupported(f"a comparison with {number}")
    if whole and abs(number) < EXACT:
        # Rounding keeps the order, and leaves small numbers what they are: any integer can be compared with those.
        return b.rounded(n.tensor("self")), number, number == int(number)
    if abs(number) > _LARGEST or float(torch.tensor(number, dtype=torch.float32)) != number:
        raise Unsupported(f"{number} is not a float32")
    return as_stored(b, n.tensor("self")), number, whole


def _difference(b: Builder, left: Value, right: Value | float) -> Value:
    if isinstance(right, float):
        return b.scale(left, 1.0, -right) if right else left
    return b.binary(BinaryKind.SUB, left, right)


def greater(b: Builder, left: Value, right: Value | float, swapped: bool = False) -> Value:
    """left > right (right > left when ``swapped``)."""
    difference = _difference(b, left, right)
    return b.unary(UnaryKind.STEP, b.scale(difference, -1.0) if swapped else difference)


def equal(b: Builder, left: Value, right: Value | float, whole: bool) -> Value:
    """left == right."""
    distance = b.unary(UnaryKind.ABS, _difference(b, left, right))
    if whole:
        return b.unary(UnaryKind.STEP, b.scale(distance, -1.0, 0.5))
    same = b.unary(UnaryKind.STEP, b.scale(distance, -_FAR, _NEAR))
    if isinstance(right, float):
        return same
    for sign in (1.0, -1.0):  # the difference of two infinities is NaN
        infinite = (b.unary(UnaryKind.STEP, b.scale(x, sign, -_LARGEST)) for x in (left, right))
        same = b.add(same, b.mul(*infinite))
    return same


def negated(b: Builder, v: Value) -> Value:
    """1 - v."""
    return b.scale(v, -1.0, 1.0)


_ODD = (0.0, -0.0, 1e-45, -1e-45, 1.0, 1.0000001, _INF, -_INF, float("nan"), 3e38, -3e38)


def _cases(fn: Callable[..., torch.Tensor]) -> list[Case]:
    def odd(x: torch.Tensor) -> torch.Tensor:
        values = torch.tensor(_ODD)
        return fn(values[:, None] + x * 0.0, values).to(torch.float32)

    def scalar(x: torch.Tensor) -> torch.Tensor:
        return fn(torch.tensor(_ODD) + x * 0.0, 1.0).to(torch.float32)

    small = Arg((3, 5), torch.int64, -2, 2)
    return [
        Case(lambda x, y: fn(x, y), [(3, 5), (3, 5)], name="floats"),
        Case(lambda x, y: fn(torch.round(x), torch.round(y)), [(3, 5), (5,)], name="equal floats"),
        Case(lambda x, y: fn(x.t(), y), [(3, 5), (5, 1)], name="transposed, broadcast"),
        Case(lambda x: fn(torch.round(x), 1.0), [(3, 5)], name="number"),
        Case(odd, [(1,)], name="special values"),
        Case(scalar, [(1,)], name="special values and a number"),
        Case(lambda x, y: x * fn(y, 1).to(torch.float32), [(3, 5), small], name="any integer and a number"),
        Case(
            lambda x: x + fn(torch.arange(5), torch.arange(3)[:, None]).to(torch.float32), [(3, 5)], name="bounded ints"
        ),
        Case(lambda x: fn(torch.round(x), 0.0), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.gt.Tensor, _aten.gt.Scalar, bounds=bounds.compared(bounds.greater), cases=lambda: _cases(torch.gt))
def gt(b: Builder, n: NodeView) -> Value:
    """self > other."""
    left, right, _ = _pair(b, n)
    return greater(b, left, right).with_dtype(DType.BOOL)


@register(_aten.lt.Tensor, _aten.lt.Scalar, bounds=bounds.compared(bounds.less), cases=lambda: _cases(torch.lt))
def lt(b: Builder, n: NodeView) -> Value:
    """self < other."""
    left, right, _ = _pair(b, n)
    return greater(b, left, right, swapped=True).with_dtype(DType.BOOL)


def _or_equal(b: Builder, n: NodeView, swapped: bool) -> Value:
    left, right, whole = _pair(b, n)
    if whole:
        return negated(b, greater(b, left, right, not swapped)).with_dtype(DType.BOOL)
    return b.add(greater(b, left, right, swapped), equal(b, left, right, whole)).with_dtype(DType.BOOL)


@register(
    _aten.ge.Tensor, _aten.ge.Scalar, bounds=bounds.compared(bounds.greater_equal), cases=lambda: _cases(torch.ge)
)
def ge(b: Builder, n: NodeView) -> Value:
    """self >= other."""
    return _or_equal(b, n, swapped=False)


@register(_aten.le.Tensor, _aten.le.Scalar, bounds=bounds.compared(bounds.less_equal), cases=lambda: _cases(torch.le))
def le(b: Builder, n: NodeView) -> Value:
    """self <= other."""
    return _or_equal(b, n, swapped=True)


@register(_aten.eq.Tensor, _aten.eq.Scalar, bounds=bounds.compared(bounds.equal), cases=lambda: _cases(torch.eq))
def eq(b: Builder, n: NodeView) -> Value:
    """self == other."""
    return equal(b, *_pair(b, n)).with_dtype(DType.BOOL)


@register(_aten.ne.Tensor, _aten.ne.Scalar, bounds=bounds.compared(bounds.not_equal), cases=lambda: _cases(torch.ne))
def ne(b: Builder, n: NodeView) -> Value:
    """self != other."""
    return negated(b, equal(b, *_pair(b, n))).with_dtype(DType.BOOL)
