"""Rounding: `round`, `floor`, `ceil`, `trunc`."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._fp16 import as_stored
from ._unary import register_unary

_aten = torch.ops.aten


register_unary(_aten.floor.default, UnaryKind.FLOOR, torch.floor, jumps=True)


register_unary(_aten.ceil.default, UnaryKind.CEIL, torch.ceil, jumps=True)


register_unary(_aten.trunc.default, UnaryKind.TRUNC, torch.trunc, jumps=True)


# From here on every float32 is a whole number.
_WHOLE = float(1 << 23)


def _quarters(x: torch.Tensor) -> torch.Tensor:
    """Multiples of a quarter, so that every other one is a tie or a whole number."""
    return torch.round(torch.floor(x * 4) / 4)


@register(
    _aten.round.default,
    cases=lambda: [
        Case(torch.round, [Arg((3, 5), low=-6, high=6)]),
        Case(_quarters, [Arg((4, 50), low=-6, high=6)], name="ties"),
        Case(lambda x: torch.round(x * 1e7), [(3, 5)], name="whole numbers"),
        Case(lambda x: torch.round(x.permute(2, 0, 1)), [(2, 3, 4)], name="permuted"),
        Case(torch.round, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def round_(b: Builder, n: NodeView) -> Value:
    """Nearest whole number, ties to the even one."""
    n.require_float()
    return nearest(b, as_stored(b, n.tensor("self")))


def nearest(b: Builder, x: Value) -> Value:
    """ggml rounds ties away from zero; where that gives an odd number the even one is the neighbour it came past."""
    # Infinities would leave NaN in the correction; beyond 2^23 there is nothing to correct.
    small = b.clamp(x, -_WHOLE, _WHOLE)
    away = b.unary(UnaryKind.ROUND, small)
    past = b.binary(BinaryKind.SUB, away, small)
    half = b.scale(away, 0.5)
    fraction = b.binary(BinaryKind.SUB, half, b.unary(UnaryKind.TRUNC, half))
    odd = b.unary(UnaryKind.STEP, b.unary(UnaryKind.ABS, fraction))
    untied = b.unary(UnaryKind.STEP, b.scale(b.unary(UnaryKind.ABS, past), -1.0, 0.5))
    # past is +-1/2 at a tie, so twice that is the step back.
    back = b.mul(b.mul(past, odd), b.scale(untied, -2.0, 2.0))
    return b.binary(BinaryKind.SUB, b.unary(UnaryKind.ROUND, x), back)


@register(
    _aten.round.decimals,
    cases=lambda: [
        Case(lambda x: torch.round(x, decimals=1), [(3, 50)], name="tenths"),
        Case(lambda x: torch.round(x, decimals=2), [(3, 5)], name="hundredths"),
        Case(lambda x: torch.round(x * 100, decimals=-1), [(3, 50)], name="tens"),
        Case(lambda x: torch.round(x, decimals=0), [(3, 5)], name="none"),
    ],
)
def round_decimals(b: Builder, n: NodeView) -> Value:
    """round(x * 10^d) / 10^d, for negative d round(x / 10^-d) * 10^-d, as torch computes it."""
    n.require_float()
    x = as_stored(b, n.tensor("self"))
    decimals = n.integer("decimals")
    ten = b.fill(10.0 ** abs(decimals), (1,))
    if decimals == 0:
        return nearest(b, x)
    if decimals > 0:
        return b.binary(BinaryKind.DIV, nearest(b, b.mul(x, ten)), ten)
    return b.mul(nearest(b, b.binary(BinaryKind.DIV, x, ten)), ten)
