"""Powers: `pow` by a number and of a number, `square`."""

from __future__ import annotations

import math

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._fp16 import as_stored, number_as_stored
from ._unary import unary_cases

_aten = torch.ops.aten


@register(_aten.square.default, cases=lambda: unary_cases(torch.square))
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
