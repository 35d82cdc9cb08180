"""Comparisons: `eq`, `ne`, `lt`, `le`, `gt`, `ge`. The result is 1 for true and 0 for false, in float elements.

Integers differ by at least 1, so a threshold of one half decides. Floats are compared exactly: a difference is zero
only between equal numbers (subnormals are kept), an infinity equals itself, and nothing equals a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.bounds import EXACT
from executorch_ggml.aot.node_view import to_dtype
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value

from ._fp16 import FP16_TYPES

_aten = torch.ops.aten
# Any distance but zero, times the first, is more than the second. Neither is subnormal: GPUs take those for zero.
_FAR, _NEAR = 2.0**100, 2.0**-126
_LARGEST = 3.4028234663852886e38

_INF = float("inf")


def _common(n: NodeView) -> torch.dtype:
    """The type in which torch compares."""
    operands = (n.raw(name).meta["val"] if n.is_tensor(name) else n.raw(name) for name in ("self", "other"))
    return torch.result_type(*operands)


def _operand(b: Builder, n: NodeView, name: str, common: torch.dtype) -> Value:
    v = b.f32(n.tensor(name))
    narrow = FP16_TYPES.get(to_dtype(common))
    return v if narrow is None or v.dtype is to_dtype(common) else b.f32(b.cast(v, narrow))


def _pair(b: Builder, n: NodeView) -> tuple[Value, Value | float, bool]:
    """Both operands, the second as a number when it is one, and whether both are integers."""
    whole = not n.meta("self").dtype.is_float
    common = _common(n)
    if n.is_tensor("other"):
        whole = whole and not n.meta("other").dtype.is_float
        number = n.scalar("other") if not n.meta("other").rank else None
        if number is None:
            return _operand(b, n, "self", common), _operand(b, n, "other", common), whole
    else:
        number = n.number("other")
    if whole and abs(number) < EXACT:
        # Rounding keeps the order and does not change small numbers: any integer can be compared with those.
        return b.rounded(n.tensor("self")), number, number == int(number)
    if common.is_floating_point:
        number = float(torch.tensor(number, dtype=torch.float64).to(common))
    if float(torch.tensor(number, dtype=torch.float64).float()) != number and not math.isnan(number):
        raise Unsupported(f"{number} is not a float32")
    if not math.isfinite(number):
        return b.rounded(n.tensor("self")), number, False
    return _operand(b, n, "self", common), number, whole


def _difference(b: Builder, left: Value, right: Value | float) -> Value:
    if isinstance(right, float):
        return b.scale(left, 1.0, -right) if right else left
    return b.binary(BinaryKind.SUB, left, right)


def _beyond(b: Builder, v: Value, sign: float) -> Value:
    """Whether an element is the infinity of a sign."""
    return b.unary(UnaryKind.STEP, b.scale(v, sign, -_LARGEST))


def is_number(b: Builder, v: Value) -> Value:
    """1 where an element is a number (infinite ones included), 0 where it is NaN."""
    return b.unary(UnaryKind.STEP, b.scale(b.unary(UnaryKind.ABS, v), 1.0, 1.0))


def greater(b: Builder, left: Value, right: Value | float, swapped: bool = False) -> Value:
    """left > right (right > left when ``swapped``)."""
    if isinstance(right, float) and not math.isfinite(right):
        if right != (_INF if swapped else -_INF):
            return b.fill(0.0, left.shape)
        return b.binary(BinaryKind.SUB, is_number(b, left), _beyond(b, left, math.copysign(1.0, right)))
    difference = _difference(b, left, right)
    return b.unary(UnaryKind.STEP, b.scale(difference, -1.0) if swapped else difference)


def equal(b: Builder, left: Value, right: Value | float, whole: bool) -> Value:
    """left == right."""
    if isinstance(right, float) and not math.isfinite(right):
        return b.fill(0.0, left.shape) if math.isnan(right) else _beyond(b, left, math.copysign(1.0, right))
    distance = b.unary(UnaryKind.ABS, _difference(b, left, right))
    if whole:
        return b.unary(UnaryKind.STEP, b.scale(distance, -1.0, 0.5))
    same = b.unary(UnaryKind.STEP, b.scale(distance, -_FAR, _NEAR))
    if isinstance(right, float):
        return same
    for sign in (1.0, -1.0):  # the difference of two infinities is NaN
        infinite = (_beyond(b, x, sign) for x in (left, right))
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
