"""Values written at positions: in place where the delegate owns the memory, else by asking of each row who writes it.

ggml writes rows in place only, and its kernels trust their row numbers. For a tensor that is not a state the positions
are compared with every row; that costs rows x positions, so it is for small tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ..ir.builder import Builder, DType, GluKind, UnaryKind, Value
from ..ir.dims import product
from ..registry import Arg, Case, NodeView, Unsupported, register
from . import _axis
from .compare import equal
from .select import choose
from .state import write_rows

_LIMIT = 1 << 18


def _matches(b: Builder, indices: Sequence[Value], sizes: Sequence[int], count: int) -> Value:
    """[rows, positions]: 1 where a position names the row. What lies outside the tensor names none."""
    grid = np.indices(sizes, dtype=np.float32).reshape(len(sizes), -1, 1)
    result: Value | None = None
    for coordinate, index, size in zip(grid, indices, sizes, strict=True):
        at = b.rounded(index)
        negative = b.unary(UnaryKind.STEP, b.scale(at, -1.0))
        at = b.reshape(b.add(at, b.scale(negative, float(size))), (1, count))
        same = equal(b, b.expand(b.constant(coordinate), (len(coordinate), count)), at, whole=True)
        result = same if result is None else b.mul(result, same)
    assert result is not None
    return result


def _put(b: Builder, n: NodeView, first: int, indices: Sequence[Value]) -> Value:
    x, values = b.f32(n.tensor("self")), b.f32(n.tensor("values"))
    after = first + len(indices)
    sizes = _axis.sizes(x.shape[first:after], "writing at positions")
    shape = np.broadcast_shapes(*(tuple(_axis.sizes(i.shape, "writing at positions")) for i in indices))
    count, rows = math.prod(shape), math.prod(sizes)
    if not count or rows * count > _LIMIT:
        raise Unsupported(f"{count} positions written among {rows} rows of a tensor that is not a state")
    expanded = [i if tuple(i.shape) == shape else b.expand(b.rounded(i).with_dtype(i.dtype), shape) for i in indices]
    matches = _matches(b, expanded, sizes, count)
    lead, tail = product(x.shape[:first]), product(x.shape[after:])
    values = b.expand(values, (*x.shape[:first], *shape, *x.shape[after:]))
    values = b.reshape(b.contiguous(values), (lead, count, tail))
    old = b.reshape(b.contiguous(x), (lead, rows, tail))
    if n.flag("accumulate"):
        whole = _axis.sizes((lead, rows, count, tail), "accumulating at positions")
        if math.prod(whole) > 4 * _LIMIT:
            raise Unsupported(f"{count} positions accumulated among {rows} rows")
        gate = b.expand(b.reshape(matches, (1, rows, count, 1)), tuple(whole))
        parts = b.expand(b.reshape(values, (lead, 1, count, tail)), tuple(whole))
        # A gate, not a product: 0 * inf would be NaN.
        added = b.reduce("sum", b.glu(GluKind.REGLU, gate, parts), [2], False)
        return b.reshape(b.add(old, added), x.shape)
    # Of several writers the last one wins, as in torch's own loop.
    order = b.constant(np.arange(1, count + 1, dtype=np.float32))
    last = b.max_rows(b.mul(matches, order))
    writer = b.reshape(b.scale(last, 1.0, -1.0), (1, rows)).with_dtype(DType.INT64)
    new = b.gather_rows(values, b.expand(b.ids(writer, count), (lead, rows)))
    written = b.reshape(b.unary(UnaryKind.STEP, last), (1, rows, 1))
    return b.reshape(choose(b, written, new, old, old.shape), x.shape)


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
        Case(
            lambda x, i, v: _PUT(x, [i, None, i], v),
            [_X, ids(2, 3), (2, 3)],
            refused="next to each other",
            name="apart",
        ),
        Case(
            lambda x, i, v: torch.index_put(x, (i,), v),
            [(900, 2), ids(500, 899), (500, 2)],
            refused="not a state",
            name="large",
        ),
    ]


@register(torch.ops.aten.index_put.default, cases=_cases)
def index_put(b: Builder, n: NodeView) -> Value:
    """self with values written (or added) at the positions that index tensors give for neighbouring dimensions."""
    n.require_float()
    indices = list(n.raw("indices"))
    used = [dim for dim, index in enumerate(indices) if index is not None]
    if not used or used != list(range(used[0], used[0] + len(used))):
        raise Unsupported("indexed dimensions that are not next to each other")
    tensors = [n.value_of(indices[dim]) for dim in used]
    for index in tensors:
        if not index.dtype.is_integer:
            raise Unsupported(f"a {index.dtype.name.lower()} index")
    target = n.tensor("self")
    if target.state >= 0 and len(used) == 1 and not n.flag("accumulate"):
        return write_rows(b, target, used[0], tensors[0], n.tensor("values"))
    return _put(b, n, used[0], tensors)
