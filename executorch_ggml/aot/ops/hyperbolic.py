"""Hyperbolic functions: `sinh`, `cosh`; tanh is among the activations."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._unary import unary_cases
from .compare import greater
from .where import choose

_aten = torch.ops.aten


def _cases(fn: Callable[[torch.Tensor], torch.Tensor]) -> list[Case]:
    ends = (float("inf"), -float("inf"), float("nan"), 0.0, 89.0, -89.0, 89.5, 1e-6, 1.0, 3e-39)

    def special(x: torch.Tensor) -> torch.Tensor:
        y = fn(torch.tensor(ends) + x * 0.0)
        return torch.where(y == y, y, 77.0)

    return [
        *unary_cases(fn),
        Case(fn, [Arg((3, 50), low=-88.0, high=88.0)], name="large"),
        Case(lambda x: fn(x * 1e-6), [(3, 5)], name="near zero"),
        Case(special, [(1,)], name="special values"),
        Case(lambda x: fn(x), [Arg((3, 5), torch.float64)], refused="float64", name="doubles"),
    ]


def _exponentials(b: Builder, size: Value) -> tuple[Value, Value]:
    """exp(x) / 2 and exp(-x) / 2 for x >= 0. As squares: exp(x) is infinite before its half is."""
    half = b.scale(size, 0.5)
    rising, falling = b.unary(UnaryKind.EXP, half), b.unary(UnaryKind.EXP, b.scale(half, -1.0))
    return b.mul(b.scale(rising, 0.5), rising), b.mul(b.scale(falling, 0.5), falling)


@register(_aten.cosh.default, cases=lambda: _cases(torch.cosh))
def cosh(b: Builder, n: NodeView) -> Value:
    """(exp(x) + exp(-x)) / 2."""
    n.require_float()
    return b.add(*_exponentials(b, b.unary(UnaryKind.ABS, b.f32(n.tensor("self")))))


@register(_aten.sinh.default, cases=lambda: _cases(torch.sinh))
def sinh(b: Builder, n: NodeView) -> Value:
    """(exp(x) - exp(-x)) / 2; near zero by u = exp(x) - 1, as (u + u / (u + 1)) / 2, which keeps all digits."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    size = b.unary(UnaryKind.ABS, x)
    rising, falling = _exponentials(b, size)
    sign = b.binary(BinaryKind.SUB, b.unary(UnaryKind.STEP, x), b.unary(UnaryKind.STEP, b.scale(x, -1.0)))
    far = b.mul(b.binary(BinaryKind.SUB, rising, falling), sign)
    u = b.unary(UnaryKind.EXPM1, x)
    near = b.scale(b.add(u, b.binary(BinaryKind.DIV, u, b.scale(u, 1.0, 1.0))), 0.5)
    # A NaN is not greater than 1, and stays one on the near side.
    return choose(b, greater(b, size, 1.0), far, near, x.shape)
