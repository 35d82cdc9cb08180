"""A part of a tensor replaced by another: `slice_scatter`, `select_scatter`, `diagonal_scatter`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, declare, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, Value
from executorch_ggml.ir.dims import product, static

_aten = torch.ops.aten


declare("select_scatter", bounds=bounds.union(0, 1))


def replaced(b: Builder, x: Value, dim: int, src: Value, places: npt.NDArray[np.int64]) -> Value:
    """x with its entries at constant places of a dimension replaced by those of src, in order."""
    size = static(x.shape[dim], "the written dimension")
    # Each entry of the result is one of x or, behind those, one of src.
    order = np.arange(size)
    order[places] = size + np.arange(len(places))
    both = b.concat([x, src], dim)
    first = [dim, *(d for d in range(x.rank) if d != dim)]
    rows = b.contiguous(b.permute(both, first))
    table = b.reshape(rows, (rows.shape[0], product(rows.shape[1:])))
    found = b.get_rows(table, b.constant(order, DType.INT64, GgmlType.I32))
    return b.permute(b.reshape(found, (size, *rows.shape[1:])), [first.index(d) for d in range(x.rank)])


@register(
    _aten.slice_scatter.default,
    keep=True,
    bounds=bounds.union(0, 1),
    cases=lambda: [
        Case(lambda x, y: torch.slice_scatter(x, y, 0, 1, 3), [(5, 4), (2, 4)]),
        Case(lambda x, y: torch.slice_scatter(x, y, 1, -2), [(5, 4), (5, 2)], name="tail"),
        Case(lambda x, y: torch.slice_scatter(x, y, 1, 0, 9), [(5, 4), (5, 4)], name="whole"),
        Case(lambda x, y: torch.slice_scatter(x, y, 2, 1, 2), [(2, 3, 4, 5), (2, 3, 1, 5)], name="middle"),
        Case(lambda x, y: torch.slice_scatter(x, y, 0, 0, 5, 2), [(5, 4), (3, 4)], name="step"),
        Case(lambda x, y: torch.slice_scatter(x, y, 1, -5, 9, 3), [(2, 7, 3), (2, 2, 3)], name="step, middle"),
        Case(lambda x, y: torch.slice_scatter(x, y, -1, 1, None, 2), [(2, 1, 2, 3, 5), (2, 1, 2, 3, 2)], name="rank 5"),
        Case(lambda x, y: torch.slice_scatter(x, y, 0, 0, None, 2), [(6,), (3,)], name="step, vector"),
        Case(lambda x, y: torch.slice_scatter(x.t(), y.t(), 0, 0, None, 2), [(3, 5), (3, 3)], name="step, transposed"),
        Case(
            lambda x, y: torch.slice_scatter(x, y, 1, 0, 4, 2),
            [(5, 4), (5, 2)],
            dynamic=[{0: ("n", 1, 9)}] * 2,
            name="step, dynamic",
        ),
        Case(
            lambda x, y: torch.slice_scatter(x, y, 1, 1, 3),
            [(5, 4), (5, 2)],
            dynamic=[{0: ("n", 1, 9)}] * 2,
            name="dyn",
        ),
    ],
)
def slice_scatter(b: Builder, n: NodeView) -> Value:
    """self with a range of one dimension, or every few entries of it, replaced by src."""
    n.require_exact()
    x, src = b.f32(n.tensor("self")), b.f32(n.tensor("src"))
    dim = n.integer("dim") % x.rank
    size = static(x.shape[dim], "the written dimension")
    step = n.integer("step")
    start = n.integer("start") if n.has("start") else 0
    end = n.integer("end") if n.has("end") else size
    start, end = (max(0, min(p + size if p < 0 else p, size)) for p in (start, end))
    end = max(start, end)
    if step != 1:
        places = np.arange(start, end, step)
        return replaced(b, x, dim, src, places) if len(places) else x
    parts = [b.slice(x, dim, 0, start), src, b.slice(x, dim, end, size - end)]
    return b.concat([p for p in parts if not _is_empty(p, dim)], dim) if end > start else x


def _is_empty(v: Value, dim: int) -> bool:
    size = v.shape[dim]
    return isinstance(size, int) and size == 0


def _diagonal_cases() -> list[Case]:
    fn = torch.diagonal_scatter
    return [
        Case(lambda x, y: fn(x, y), [(4, 6), (4,)]),
        Case(lambda x, y: fn(x, y, -2), [(5, 4), (3,)], name="below"),
        Case(lambda x, y: fn(x, y, 1, 2, 0), [(3, 2, 4), (2, 2)], name="other dimensions"),
        Case(lambda x, y: fn(x, y, 0, 1, 3), [(2, 3, 2, 4, 2), (2, 2, 2, 3)], name="rank 5"),
        Case(lambda x, y: fn(x.t(), y), [(3, 5), (3,)], name="transposed"),
        Case(lambda x, y: fn(x, y, 0, 1, 2), [(5, 3, 3), (5, 3)], dynamic=[{0: ("n", 1, 9)}] * 2, name="dynamic batch"),
    ]


@register(_aten.diagonal_scatter.default, keep=True, cases=_diagonal_cases)
def diagonal_scatter(b: Builder, n: NodeView) -> Value:
    """self with the diagonal of two dimensions replaced by src."""
    n.require_exact()
    x, src = b.f32(n.tensor("self")), b.f32(n.tensor("src"))
    offset, dims = n.integer("offset"), [n.integer("dim1") % x.rank, n.integer("dim2") % x.rank]
    height, width = (static(x.shape[d], "a dimension of the diagonal") for d in dims)
    count = static(src.shape[-1], "the length of the diagonal")
    if not count:
        return x
    rows = np.arange(count) + max(0, -offset)
    places = rows * width + rows + offset
    order = [*(d for d in range(x.rank) if d not in dims), *dims]
    moved = b.contiguous(b.permute(x, order))
    flat = b.reshape(moved, (*moved.shape[:-2], height * width))
    result = b.reshape(b.contiguous(replaced(b, flat, flat.rank - 1, src, places)), tuple(moved.shape))
    return b.permute(result, [order.index(d) for d in range(x.rank)])
