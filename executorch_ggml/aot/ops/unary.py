"""Elementwise functions of one tensor that ggml computes as torch does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._stored import as_stored, number_as_stored

_aten = torch.ops.aten

_SHAPES = [(7,), (3, 5), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 4)]


_Function = Callable[[torch.Tensor], torch.Tensor]


def _cases(fn: _Function, low: float = -3.0, high: float = 3.0, tolerance: float = 1e-9) -> list[Case]:
    cases = [Case(fn, [Arg(s, low=low, high=high)], tolerance=tolerance) for s in _SHAPES]
    # A permuted operand, and a dynamic dimension.
    cases.append(
        Case(
            lambda x: fn(x.permute(1, 2, 0)), [Arg((2, 3, 4), low=low, high=high)], tolerance=tolerance, name="permuted"
        )
    )
    cases.append(
        Case(fn, [Arg((5, 3), low=low, high=high)], dynamic=[{0: ("n", 1, 9)}], tolerance=tolerance, name="dynamic")
    )
    return cases


def _simple(
    target: Any,
    kind: UnaryKind,
    fn: _Function,
    keep: bool = False,
    low: float = -3.0,
    high: float = 3.0,
    whole: bool = False,
    jumps: bool = False,
    **facts: Any,
) -> None:
    """Registers one function of each element.

    ``whole``: of an integer it makes an integer. ``jumps``: an operand's last digit may decide. ``facts``: see
    ``register``.
    """

    @register(target, keep=keep, **facts, cases=lambda: _cases(fn, low, high))
    def lower(b: Builder, n: NodeView) -> Value:
        if whole:
            n.require_exact()
        else:
            n.require_float()
        return b.unary(kind, as_stored(b, n.tensor("self")) if jumps else n.tensor("self"))


_simple(_aten.abs.default, UnaryKind.ABS, torch.abs, whole=True, bounds=bounds.absolute)
_simple(_aten.neg.default, UnaryKind.NEG, torch.neg, whole=True, bounds=bounds.negated, ahead_of_time=True)
_simple(_aten.exp.default, UnaryKind.EXP, torch.exp, ahead_of_time=True)
_simple(_aten.log.default, UnaryKind.LOG, torch.log, low=0.05, jumps=True, ahead_of_time=True)
_simple(_aten.sqrt.default, UnaryKind.SQRT, torch.sqrt, low=0.0, jumps=True)
_simple(_aten.sin.default, UnaryKind.SIN, torch.sin, ahead_of_time=True)
_simple(_aten.cos.default, UnaryKind.COS, torch.cos, ahead_of_time=True)
_simple(_aten.tanh.default, UnaryKind.TANH, torch.tanh)
_simple(_aten.sigmoid.default, UnaryKind.SIGMOID, torch.sigmoid)
_simple(_aten.relu.default, UnaryKind.RELU, torch.relu)
_simple(_aten.silu.default, UnaryKind.SILU, torch.nn.functional.silu, keep=True)
_simple(_aten.hardswish.default, UnaryKind.HARD_SWISH, torch.nn.functional.hardswish, keep=True, low=-5, high=5)
_simple(_aten.hardsigmoid.default, UnaryKind.HARD_SIGMOID, torch.nn.functional.hardsigmoid, keep=True, low=-5, high=5)
_simple(_aten.floor.default, UnaryKind.FLOOR, torch.floor, jumps=True)
_simple(_aten.ceil.default, UnaryKind.CEIL, torch.ceil, jumps=True)
_simple(_aten.trunc.default, UnaryKind.TRUNC, torch.trunc, jumps=True)


@register(_aten.rsqrt.default, cases=lambda: _cases(torch.rsqrt, low=0.05))
def rsqrt(b: Builder, n: NodeView) -> Value:
    """1 / sqrt(x)."""
    n.require_float()
    return b.reciprocal(b.unary(UnaryKind.SQRT, as_stored(b, n.tensor("self"))))


@register(_aten.reciprocal.default, ahead_of_time=True, cases=lambda: _cases(torch.reciprocal, low=0.05))
def reciprocal(b: Builder, n: NodeView) -> Value:
    """1 / x."""
    n.require_float()
    return b.reciprocal(as_stored(b, n.tensor("self")))


@register(_aten.square.default, cases=lambda: _cases(torch.square))
def square(b: Builder, n: NodeView) -> Value:
    """x * x."""
    n.require_float()
    return b.unary(UnaryKind.SQR, n.tensor("self"))


@register(
    _aten.pow.Tensor_Scalar,
    ahead_of_time=True,
    cases=lambda: [
        *(Case(lambda x, e=e: torch.pow(x, e), [(3, 5)], name=f"{e}") for e in (2, 3, 4, 5, 7, 1, 0, 2.0)),
        *(
            Case(lambda x, e=e: torch.pow(x, e), [Arg((3, 5), low=0.1)], tolerance=1e-8, name=f"positive {e}")
            for e in (-1, -2, 0.5, -0.5, 1.7, -2.5)
        ),
        Case(lambda x: torch.pow(x.transpose(0, 1), 3), [(3, 5)], name="transposed"),
    ],
)
def pow_scalar(b: Builder, n: NodeView) -> Value:
    """x ** e: products for whole exponents (so negative x is right), one function for others."""
    n.require_float()
    return power(b, n.tensor("self"), number_as_stored(n.number("exponent"), n.out.dtype))


# Of higher powers a product has lost digits: its rounding errors are multiplied, too.
_MULTIPLIED = 8


def power(b: Builder, x: Value, exponent: float) -> Value:
    """``x`` to a constant power."""
    if exponent == 0.0:
        return b.fill(1.0, x.shape)
    if not math.isfinite(exponent) or abs(exponent) > 64:
        raise Unsupported(f"power {exponent}")
    if exponent < 0 or exponent != int(exponent):
        x = as_stored(b, x)  # zero is a pole, and a sign decides whether there is a root
    if exponent == -0.5:
        return b.reciprocal(b.unary(UnaryKind.SQRT, x))
    if exponent == 0.5:
        return b.unary(UnaryKind.SQRT, x)
    if exponent != int(exponent):
        return b.unary(UnaryKind.POWER, x, exponent)
    if abs(exponent) > _MULTIPLIED:
        odd = math.fmod(exponent, 2.0)
        even = b.unary(UnaryKind.POWER, b.unary(UnaryKind.ABS, x), exponent - odd)
        return b.mul(even, b.reciprocal(x) if odd < 0 else x) if odd else even
    # The power of the inverse, not the inverse of the power: that could be infinite where the result is subnormal.
    base = b.reciprocal(x) if exponent < 0 else b.f32(x)
    whole = abs(int(exponent))
    while not whole & 1:
        base = b.unary(UnaryKind.SQR, base)
        whole >>= 1
    result = base
    while whole := whole >> 1:
        base = b.unary(UnaryKind.SQR, base)
        if whole & 1:
            result = b.mul(result, base)
    return result


@register(
    _aten.pow.Scalar,
    ahead_of_time=True,
    cases=lambda: [
        *(Case(lambda x, c=c: torch.pow(c, x), [(3, 5)], tolerance=1e-8, name=f"{c}") for c in (2.5, 0.3, 1.0)),
        Case(lambda x: torch.pow(-2.0, x), [(3, 5)], refused="not positive", name="negative"),
    ],
)
def scalar_pow(b: Builder, n: NodeView) -> Value:
    """c ** x for positive c."""
    n.require_float()
    base = number_as_stored(n.number("self"), n.out.dtype)
    if not base > 0 or math.isinf(base):
        raise Unsupported("a power of a base that is not positive")
    return b.unary(UnaryKind.POWER_OF, n.tensor("exponent"), base)


@register(_aten.exp2.default, keep=True, cases=lambda: _cases(torch.exp2, tolerance=1e-8))
def exp2(b: Builder, n: NodeView) -> Value:
    """2 ** x."""
    n.require_float()
    return b.unary(UnaryKind.POWER_OF, n.tensor("self"), 2.0)


@register(_aten.expm1.default, cases=lambda: [*_cases(torch.expm1), Case(lambda x: torch.expm1(x * 1e-6), [(3, 5)])])
def expm1(b: Builder, n: NodeView) -> Value:
    """exp(x) - 1, with all digits near 0."""
    n.require_float()
    return b.unary(UnaryKind.EXPM1, n.tensor("self"))
