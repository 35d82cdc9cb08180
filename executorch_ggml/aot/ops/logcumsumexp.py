"""`logcumsumexp`."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, ScanKind, Value

from ._rows import rows_back, rows_last

_aten = torch.ops.aten
_INF, _NAN = float("inf"), float("nan")


def _special(x: torch.Tensor) -> torch.Tensor:
    rows = torch.tensor([[-_INF, -_INF, 1.0, 2.0], [1.0, _INF, _INF, 3.0], [_NAN, 1.0, _INF, 0.0], [1e4, -1e4, 1e4, 0]])
    y = torch.logcumsumexp(rows + x * 0.0, -1)
    return torch.where(y == y, torch.clamp(y, -2e4, 2e4), 7e4)


@register(
    _aten.logcumsumexp.default,
    cpu_only=True,
    cases=lambda: [
        Case(lambda x: torch.logcumsumexp(x, -1), [(3, 5)]),
        Case(lambda x: torch.logcumsumexp(x, 0), [(7,)], name="vector"),
        Case(lambda x: torch.logcumsumexp(x, 1), [(2, 3, 4, 2)], name="middle"),
        Case(lambda x: torch.logcumsumexp(x.t(), 0), [(3, 5)], name="transposed"),
        Case(lambda x: torch.logcumsumexp(x, 0), [Arg((40000, 2), low=-50, high=50)], name="long"),
        Case(_special, [(1,)], name="special values"),
        Case(lambda x: torch.logcumsumexp(x, 0), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: torch.logcumsumexp(x, 0), [Arg((5,), torch.float64)], refused="float64", name="doubles"),
    ],
)
def logcumsumexp(b: Builder, n: NodeView) -> Value:
    """log(exp(x_0) + ... + exp(x_i)) along any dimension, in double. On the CPU alone."""
    n.require_float()
    x, dim = rows_last(b, n)
    return rows_back(b, n, b.scan(ScanKind.LOG_SUM_EXP, x), dim)
