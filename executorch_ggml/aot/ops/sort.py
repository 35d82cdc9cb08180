"""`sort`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import static

from ._largest import back, largest

_aten = torch.ops.aten


def _odd_order(x: torch.Tensor) -> torch.Tensor:
    inf, nan = float("inf"), float("nan")
    values = torch.tensor([1.0, nan, inf, -inf, 1.0, inf, nan, -0.0, 0.0, -inf]) + x * 0.0
    return torch.cat([torch.argsort(values, stable=True), torch.argsort(values, descending=True, stable=True)])


def _sort_cases() -> list[Case]:
    return [
        Case(lambda x: tuple(torch.sort(x)), [(4, 7)]),
        Case(lambda x: torch.sort(x, 1, descending=True)[0], [(2, 5, 3)], name="middle, falling"),
        Case(lambda x: torch.sort(x, 0)[1], [(7, 2)], name="positions"),
        Case(lambda x: torch.sort(x, -1)[0], [(5, 6)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: torch.argsort(x, -1), [(4, 7)], name="argsort"),
        Case(lambda x: torch.sort(x, stable=True)[0], [(4, 7)], name="stable, values"),
        Case(lambda x: tuple(torch.sort(torch.round(x), stable=True)), [(4, 30)], name="stable"),
        Case(
            lambda x: torch.argsort(torch.round(x), dim=1, descending=True, stable=True),
            [(2, 9, 3)],
            name="stable, falling",
        ),
        Case(_odd_order, [(2, 1)], name="stable, special values"),
        Case(
            lambda x: torch.argsort(torch.round(x), stable=True),
            [(5, 9)],
            dynamic=[{0: ("n", 1, 9)}],
            name="stable dynamic",
        ),
        Case(
            lambda x: torch.argsort(x, stable=True), [(2, 3000)], refused="a stable sort of rows", name="stable, long"
        ),
        Case(lambda x: tuple(torch.sort(x, stable=True)), [Arg((4, 7), torch.int16, -3, 3)], name="small ints"),
        Case(lambda x: torch.sort(x, 0, True)[0], [Arg((4, 7), torch.uint8, 0, 255)], name="bytes"),
        Case(lambda x: tuple(torch.sort(x % 5, 1)), [Arg((4, 7), torch.int64)], name="small numbers"),
    ]


@register(_aten.sort.default, _aten.sort.stable, bounds=bounds.first, cases=_sort_cases)
def sort(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """Values and positions in rising or falling order along a dimension.

    On the CPU equal elements stay in order. On other devices they come in any, unless it is a stable sort of which the
    positions are read.
    """
    n.require_exact()
    stable = n.takes("stable") and n.flag("stable") and 1 in n.used_outputs()
    x = b.f32(n.tensor("self"))
    if x.rank == 0:
        raise Unsupported("sorting a single number")
    dim = n.integer("dim") % x.rank
    rows = x if dim == x.rank - 1 else b.transpose(x, dim, -1)
    width = static(rows.shape[-1], "the sorted dimension")
    return back(b, n, dim, *largest(b, rows, width, 1.0 if n.flag("descending") else -1.0, stable=stable))
