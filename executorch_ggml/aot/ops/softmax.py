"""`softmax`, `_softmax`, `log_softmax`, `_log_softmax`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._rows import rows_back, rows_last

_aten = torch.ops.aten


def _softmax_cases(fn: Callable[..., torch.Tensor]) -> list[Case]:
    return [
        Case(lambda x: fn(x, dim=-1), [(3, 5)]),
        Case(lambda x: fn(x, dim=0), [(3, 5)], name="first"),
        Case(lambda x: fn(x, dim=1), [(2, 3, 4, 5)], name="middle"),
        Case(lambda x: fn(x, dim=-1), [(2, 3, 2, 3, 4)], name="rank 5"),
        Case(lambda x: fn(x * 40, dim=-1), [(3, 5)], name="far apart"),
        Case(lambda x: fn(x.transpose(0, 1), dim=-1), [(3, 5)], name="transposed"),
        Case(lambda x: fn(x, dim=1), [(5, 7)], dynamic=[{0: ("n", 1, 9), 1: ("m", 1, 9)}], name="dynamic"),
    ]


@register(_aten._softmax.default, _aten.softmax.int, keep=True, cases=lambda: _softmax_cases(torch.softmax))
def softmax(b: Builder, n: NodeView) -> Value:
    """Softmax along any dimension."""
    _floats(n)
    x, dim = rows_last(b, n)
    return rows_back(b, n, b.softmax(x), dim)


@register(
    _aten._log_softmax.default,
    _aten.log_softmax.int,
    keep=True,
    cases=lambda: _softmax_cases(torch.log_softmax),
)
def log_softmax(b: Builder, n: NodeView) -> Value:
    """x - max - log(sum(exp(x - max))): a logarithm of softmax would lose small probabilities."""
    _floats(n)
    x, dim = rows_last(b, n)
    shifted = b.binary(BinaryKind.SUB, x, b.max_rows(x))
    total = b.unary(UnaryKind.LOG, b.sum_rows(b.unary(UnaryKind.EXP, shifted)))
    return rows_back(b, n, b.binary(BinaryKind.SUB, shifted, total), dim)


def _floats(n: NodeView) -> None:
    n.require_float()
    if not n.meta("self").dtype.is_float:
        raise Unsupported("softmax of integers")
