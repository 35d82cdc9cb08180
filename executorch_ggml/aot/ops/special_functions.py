"""Functions of each element by kernels of the CPU, to the last digit: `erfinv`, `lgamma`, `digamma`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._fp16 import as_stored
from ._unary import unary_cases

_aten = torch.ops.aten
_INF, _NAN = float("inf"), float("nan")


def _cases(
    fn: Callable[[torch.Tensor], torch.Tensor], low: float, high: float, special: tuple[float, ...]
) -> list[Case]:
    def odd(x: torch.Tensor) -> torch.Tensor:
        y = fn(torch.tensor([_NAN, _INF, -_INF, 0.0, *special]) + x * 0.0)
        return torch.where(y == y, torch.clamp(y, -1e4, 1e4), 7e4)

    return [
        *unary_cases(fn, low, high),
        Case(odd, [(1,)], name="special values"),
        Case(lambda x: fn(x), [Arg((3, 5), torch.float64)], refused="float64", name="doubles"),
    ]


def _function(b: Builder, n: NodeView, kind: UnaryKind) -> Value:
    n.require_float()
    x = n.tensor("self")
    # Steep, and with poles: a rounded operand makes another result.
    return b.unary(kind, as_stored(b, x) if x.dtype.is_float else b.rounded(x)).with_dtype(n.out.dtype)


@register(
    _aten.erfinv.default,
    cpu_only=True,
    cases=lambda: _cases(torch.erfinv, -0.999, 0.999, (1.0, -1.0, 1.5, -2.0, 0.99999994, 1e-20, -1e-38)),
)
def erfinv(b: Builder, n: NodeView) -> Value:
    """The number of which erf is x. On the CPU alone."""
    return _function(b, n, UnaryKind.ERFINV)


@register(
    _aten.lgamma.default,
    cpu_only=True,
    cases=lambda: _cases(torch.lgamma, 0.1, 9.0, (1.0, 2.0, -1.0, -2.5, -1e9, 1e3, 1e-30, -1e-10, 1.0000001)),
)
def lgamma(b: Builder, n: NodeView) -> Value:
    """log(|gamma(x)|). On the CPU alone."""
    return _function(b, n, UnaryKind.LGAMMA)


@register(
    _aten.digamma.default,
    cpu_only=True,
    cases=lambda: _cases(torch.digamma, 0.1, 9.0, (-1.0, -2.0, -2.5, -0.25, 1e3, 1e30, 1e-3, -1e-3, 1.4616321)),
)
def digamma(b: Builder, n: NodeView) -> Value:
    """The derivative of lgamma. On the CPU alone."""
    return _function(b, n, UnaryKind.DIGAMMA)
