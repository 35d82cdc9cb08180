"""The largest and smallest so far: `cummax`, `cummin`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product

from ._rows import rows_back, rows_last

_aten = torch.ops.aten


def _cases(fn: Callable[..., Any]) -> list[Case]:
    inf, nan = float("inf"), float("nan")

    def special(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.tensor([[1.0, nan, 2.0, nan, inf], [-inf, -inf, 0.0, -0.0, 0.0], [inf, 1.0, inf, -inf, nan]])
        values, places = fn(rows + x * 0.0, 1)
        return torch.where(values == values, torch.clamp(values, -9.0, 9.0), 77.0), places

    return [
        Case(lambda x: tuple(fn(x, -1)), [(3, 5)]),
        Case(lambda x: tuple(fn(x, 0)), [(7,)], name="vector"),
        Case(lambda x: tuple(fn(x, 1)), [(2, 3, 4, 2)], name="middle"),
        Case(lambda x: fn(x.permute(1, 2, 0), 0)[0], [(2, 3, 4)], name="values, permuted"),
        Case(lambda x: fn(x[0, 0], 0), [(3, 5)], name="single"),
        Case(lambda x: fn(torch.round(x), 1)[1], [(4, 30)], name="ties"),
        Case(special, [(1,)], name="special values"),
        Case(lambda x: tuple(fn(x, 0)), [Arg((40000, 2), low=-500, high=500)], name="long"),
        Case(lambda x: tuple(fn(x, 0)), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: tuple(fn(x, 0)), [Arg((7, 4), torch.int8, -9, 9)], name="small ints"),
        Case(lambda x: x * fn(x > 0, 1)[0], [(4, 9)], name="booleans"),
        Case(lambda x, y: torch.gather(y, 1, fn(x, 1)[1]), [(4, 9), (4, 9)], name="places looked up"),
        Case(lambda x: tuple(fn(x, 0)), [Arg((5,), torch.int64)], refused="int64", name="int"),
        Case(lambda x: tuple(fn(x, 0)), [Arg((5,), torch.float64)], refused="float64", name="doubles"),
    ]


def _extremes(b: Builder, n: NodeView, smallest: bool) -> tuple[Value, Value]:
    n.require_exact()
    x, dim = rows_last(b, n)
    rows = b.contiguous(x)
    places = b.running_max(rows, smallest)
    lead, width = product(rows.shape[:-1]), rows.shape[-1]
    tables, ids = b.reshape(rows, (lead, width, 1)), b.reshape(places, (lead, width))
    values = b.reshape(b.gather_rows(tables, ids), rows.shape).with_dtype(n.out.dtype)
    return rows_back(b, n, values, dim), b.contiguous(rows_back(b, n, places, dim))


@register(_aten.cummax.default, bounds=bounds.first, cpu_only=True, cases=lambda: _cases(torch.cummax))
def cummax(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """Values and places of the largest so far, the last of equal ones; NaN is the largest. On the CPU alone."""
    return _extremes(b, n, smallest=False)


@register(_aten.cummin.default, bounds=bounds.first, cpu_only=True, cases=lambda: _cases(torch.cummin))
def cummin(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """Values and places of the smallest so far; otherwise as cummax."""
    return _extremes(b, n, smallest=True)
