"""Logarithms: `log`, `log2`, `log10`, `log1p`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._fp16 import as_stored
from ._unary import register_unary

_aten = torch.ops.aten


register_unary(_aten.log.default, UnaryKind.LOG, torch.log, low=0.05, jumps=True, ahead_of_time=True)


def _cases(fn: Callable[[torch.Tensor], torch.Tensor], low: float) -> list[Case]:
    return [
        *(Case(fn, [Arg(shape, low=low, high=9.0)]) for shape in ((7,), (3, 5), (2, 3, 4, 5), (2, 1, 3, 2, 4))),
        Case(lambda x: fn(x.permute(1, 2, 0)), [Arg((2, 3, 4), low=low, high=9.0)], name="permuted"),
        Case(fn, [Arg((5, 3), low=low, high=9.0)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.log2.default, cases=lambda: _cases(torch.log2, 0.05))
def log2(b: Builder, n: NodeView) -> Value:
    """log(x) / log(2)."""
    n.require_float()
    return b.scale(b.unary(UnaryKind.LOG, as_stored(b, n.tensor("self"))), 1.0 / math.log(2.0))


@register(_aten.log10.default, cases=lambda: _cases(torch.log10, 0.05))
def log10(b: Builder, n: NodeView) -> Value:
    """log(x) / log(10)."""
    n.require_float()
    return b.scale(b.unary(UnaryKind.LOG, as_stored(b, n.tensor("self"))), 1.0 / math.log(10.0))


@register(
    _aten.log1p.default,
    cases=lambda: [*_cases(torch.log1p, -0.9), Case(lambda x: torch.log1p(x * 1e-6), [(3, 5)], name="near zero")],
)
def log1p(b: Builder, n: NodeView) -> Value:
    """log(u) - ((u - 1) - x) / u with u = 1 + x: the second term is the part that rounding took from u."""
    n.require_float()
    x = as_stored(b, n.tensor("self"))
    # The correction is nothing for large x; the bounds keep infinities and u = 0 out of it.
    moderate = b.clamp(x, maximum=1e10)
    u = b.scale(moderate, 1.0, 1.0)
    lost = b.binary(BinaryKind.SUB, b.scale(u, 1.0, -1.0), moderate)
    correction = b.binary(BinaryKind.DIV, lost, b.clamp(u, minimum=1e-30))
    return b.binary(BinaryKind.SUB, b.unary(UnaryKind.LOG, b.scale(x, 1.0, 1.0)), correction)
