"""`index_put`: values written, or added, at positions. In place if the delegate owns the memory.

Small tensors of known sizes are compared with the positions, row by row, in operations that every device has. Others
use a CPU kernel (``scatter``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, GluKind, Kind, ScatterKind, UnaryKind, Value
from executorch_ggml.ir.dims import Dim, Shape, product

from ._indices import flat_positions, positions
from ._state import write_rows
from .compare import equal
from .where import choose

_LIMIT = 1 << 18


def put_rows(b: Builder, kind: ScatterKind, old: Value, values: Value, ids: Value) -> Value:
    """old [lead, rows, tail] with values [lead, count, tail] put in rows; ids [count], in range."""
    lead, rows, tail = old.shape
    count = ids.shape[0]
    small = all(isinstance(d, int) for d in (lead, rows, tail, count)) and kind <= ScatterKind.ADD
    work = math.prod(int(d) for d in (rows, count)) if small else 0
    if not small or work > _LIMIT or (kind is ScatterKind.ADD and work * int(lead) * int(tail) > 4 * _LIMIT):
        return b.scatter(kind, old, values, b.reshape(ids, (1, count, 1)))
    assert isinstance(rows, int)
    assert isinstance(count, int)
    names = b.constant(np.arange(rows, dtype=np.float32).reshape(rows, 1))
    matches = equal(b, b.expand(names, (rows, count)), b.reshape(b.f32(ids), (1, count)), whole=True)
    if kind is ScatterKind.ADD:
        whole = (lead, rows, count, tail)
        gate = b.expand(b.reshape(matches, (1, rows, count, 1)), whole)
        parts = b.expand(b.reshape(values, (lead, 1, count, tail)), whole)
        # A gate, not a product: 0 * inf would be NaN.
        return b.add(old, b.reduce("sum", b.glu(GluKind.REGLU, b.contiguous(gate), b.contiguous(parts)), [2], False))
    # Of several writers the last one wins, as in torch's own loop.
    order = b.constant(np.arange(1, count + 1, dtype=np.float32))
    last = b.max_rows(b.mul(matches, order))
    writer = b.reshape(b.scale(last, 1.0, -1.0), (1, rows)).with_dtype(DType.INT64)
    new = b.gather_rows(values, b.expand(b.ids(writer, count), (lead, rows)))
    written = b.reshape(b.unary(UnaryKind.STEP, last), (1, rows, 1))
    return choose(b, written, new, old, old.shape)


def put(b: Builder, kind: ScatterKind, x: Value, dims: Sequence[int], ids: Value, rows: Dim, values: Value) -> Value:
    """x with values put where ids, one number for all of ``dims``, say; values broadcast as torch's index_put does."""
    others = [d for d in range(x.rank) if d not in dims]
    neighbours = list(dims) == list(range(dims[0], dims[0] + len(dims)))
    lead = list(range(dims[0])) if neighbours else []
    tail = [d for d in others if d not in lead]
    order = [*lead, *dims, *tail]
    moved = b.contiguous(b.permute(x, order)) if order != list(range(x.rank)) else b.contiguous(x)
    before: Shape = tuple(x.shape[d] for d in lead)
    after: Shape = tuple(x.shape[d] for d in tail)
    values = b.contiguous(b.expand(values, (*before, *ids.shape, *after)))
    count = product(ids.shape)
    old = b.reshape(moved, (product(before), rows, product(after)))
    new = b.reshape(values, (product(before), count, product(after)))
    result = b.reshape(put_rows(b, kind, old, new, b.reshape(ids, (count,))), tuple(moved.shape))
    return b.permute(result, [order.index(d) for d in range(x.rank)]) if order != list(range(x.rank)) else result


def _put(b: Builder, n: NodeView, dims: Sequence[int]) -> Value:
    indices = list(n.raw("indices"))
    if len(dims) == 1:
        ids = positions(b, n, indices[dims[0]], "self", dims[0], from_end=True)
        rows: Dim = n.meta("self").shape[dims[0]]
    else:
        ids, rows = flat_positions(b, n, [indices[d] for d in dims], "self", dims, from_end=True)
    kind = ScatterKind.ADD if n.flag("accumulate") else ScatterKind.SET
    return put(b, kind, b.f32(n.tensor("self")), dims, ids, rows, b.f32(n.tensor("values")))


_X = (5, 3, 4)
_PUT = torch.ops.aten.index_put.default


def _cases() -> list[Case]:
    def ids(count: int, top: int, low: int = 0) -> Arg:
        return Arg((count,), torch.int64, low, top)

    return [
        Case(lambda x, i, v: torch.index_put(x, (i,), v), [_X, ids(3, 4), (3, 3, 4)], name="rows"),
        Case(lambda x, i, v: torch.index_put(x, (i,), v), [(5,), ids(7, 4), (7,)], name="vector, repeated"),
        Case(lambda x, i, v: torch.index_put(x, (i,), v), [_X, ids(3, -1, -5), (4,)], name="negative, broadcast"),
        Case(lambda x, i, v: _PUT(x, [None, i], v), [_X, ids(2, 2), (5, 2, 4)], name="middle"),
        Case(lambda x, i, j, v: torch.index_put(x, (i, j), v), [_X, ids(6, 4), ids(6, 2), (6, 4)], name="two"),
        Case(
            lambda x, i, j, v: torch.index_put(x, (i[:, None], j), v),
            [_X, ids(2, 4), ids(3, 2), (2, 3, 4)],
            name="two, broadcast",
        ),
        Case(
            lambda x, i, j, k, v: torch.index_put(x, (i, j, k), v),
            [_X, ids(6, 4), ids(6, 2), ids(6, 3), (6,)],
            name="three",
        ),
        Case(lambda x, i, v: torch.index_put(x, (i,), v, True), [_X, ids(7, 4), (7, 3, 4)], name="accumulate"),
        Case(
            lambda x, i, j, v: _PUT(x, [None, i, j], v, True),
            [_X, ids(7, 2), ids(7, 3), (1,)],
            name="accumulate two",
        ),
        Case(lambda x, i, v: torch.index_put(x / 0.0, (i,), v), [(5, 3), ids(2, 4), (3,)], name="over infinities"),
        Case(lambda x, i, j, v: _PUT(x, [i, None, j], v), [_X, ids(2, 3), ids(2, 3), (2, 3)], name="apart"),
    ]


@register(torch.ops.aten.index_put.default, cases=_cases)
def index_put(b: Builder, n: NodeView) -> Value:
    """self with values written (or added) at the positions that index tensors give; -1 is the last one."""
    n.require_float()
    indices = list(n.raw("indices"))
    used = [dim for dim, index in enumerate(indices) if index is not None]
    if not used:
        raise Unsupported("no positions")
    target = n.tensor("self")
    if target.state >= 0 and len(used) == 1 and not n.flag("accumulate"):
        index = n.value_of(indices[used[0]])
        if index.kind is Kind.INPUT and index.dtype.is_integer:
            index = b.row_numbers(index, target.shape[used[0]], True, GgmlType.I64)
        else:
            index = positions(b, n, indices[used[0]], "self", used[0], from_end=True)
        return write_rows(b, target, used[0], index, n.tensor("values"))
    return _put(b, n, used)
