"""`cumsum`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

from ._rows import rows_back, rows_last

_aten = torch.ops.aten


@register(
    _aten.cumsum.default,
    bounds=bounds.running_sum,
    cases=lambda: [
        Case(lambda x: torch.cumsum(x, -1), [(3, 5)]),
        Case(lambda x: torch.cumsum(x, 0), [(3, 5)], name="first"),
        Case(lambda x: torch.cumsum(x, 1), [(2, 3, 4)], name="middle"),
        Case(lambda x: torch.cumsum(x, 0), [Arg((5,), torch.int64, 0, 9)], refused="int64", name="int"),
    ],
)
def cumsum(b: Builder, n: NodeView) -> Value:
    """Running sum along any dimension."""
    n.require_exact()
    x, dim = rows_last(b, n)
    return rows_back(b, n, b.cumsum(x), dim)
