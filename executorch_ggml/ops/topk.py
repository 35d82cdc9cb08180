"""The largest elements and where they are."""

from __future__ import annotations

import torch

from ..ir.builder import Builder, Value
from ..ir.dims import product, static
from ..registry import Arg, Case, NodeView, Unsupported, register
from .stable_order import stable_order

_aten = torch.ops.aten


def _largest(
    b: Builder, x: Value, k: int, sign: float, *, whole: bool = True, stable: bool = False
) -> tuple[Value, Value]:
    """Values and positions of the k largest (smallest: sign -1) of each row [..., n], in order.

    ``whole``: from a sort of the row, as torch.sort has it; else from a selection, as torch.topk has it. ``stable``: k
    is n, and equal elements stay in the order in which they are, on every device.
    """
    rows = b.contiguous(b.f32(x))
    lead, width = rows.shape[:-1], rows.shape[-1]
    flat = b.reshape(rows, (product(lead), width))
    if stable:
        ids = stable_order(b, flat, k, sign > 0)
    else:
        ids = b.argsort(flat, descending=sign > 0) if whole else b.top_k(flat, k, smallest=sign < 0)
    values = b.gather_rows(b.reshape(flat, (product(lead), width, 1)), ids)
    return b.reshape(values, (*lead, k)), b.reshape(b.contiguous(ids), (*lead, k))


@register(
    _aten.topk.default,
    cases=lambda: [
        Case(lambda x: tuple(torch.topk(x, 3)), [(4, 7)]),
        Case(lambda x: torch.topk(x, 2)[1], [(2, 3, 5)], name="positions"),
        Case(lambda x: torch.topk(x, 1, dim=1)[0], [(2, 5, 3)], name="middle"),
        Case(lambda x: torch.topk(x, 2, largest=False)[0], [(4, 7)], name="smallest"),
        Case(lambda x: tuple(torch.topk(x, 2)), [(5, 6)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: tuple(torch.topk(x, 2)), [Arg((4, 7), torch.int64)], refused="int64", name="ints"),
        Case(lambda x: torch.topk(x, 3, 0)[0], [Arg((7, 4), torch.int8, -9, 9)], name="small ints"),
    ],
)
def topk(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """values and indices of the k largest (or smallest) along a dimension. Sorted whether asked for or not.

    On the CPU equal values come in torch's order, on other devices in any.
    """
    n.require_exact()
    x = n.tensor("self")
    if x.rank == 0:
        raise Unsupported("the largest of a single number")
    dim = n.integer("dim") % x.rank
    sign = 1.0 if n.flag("largest") else -1.0
    rows = x if dim == x.rank - 1 else b.transpose(b.f32(x), dim, -1)
    return _back(b, n, dim, *_largest(b, rows, n.integer("k"), sign, whole=False))


def _back(b: Builder, n: NodeView, dim: int, values: Value, ids: Value) -> tuple[Value, Value]:
    """Results whose rows lie along the last dimension, along ``dim`` and of the type that they had."""
    if dim != values.rank - 1:
        values, ids = b.transpose(values, dim, -1), b.contiguous(b.transpose(ids, dim, -1))
    return (values if n.out.dtype.is_float else values.with_dtype(n.out.dtype)), ids


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


@register(_aten.sort.default, _aten.sort.stable, cases=_sort_cases)
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
    return _back(b, n, dim, *_largest(b, rows, width, 1.0 if n.flag("descending") else -1.0, stable=stable))
