"""Advanced indexing with one tensor of positions, and gather."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..ir.builder import Builder, GgmlType, Value
from ..ir.dims import product, same, static
from ..registry import Arg, Case, NodeView, Unsupported, register

_aten = torch.ops.aten
_IDS = Arg((2, 3), torch.int64, 0, 3)


@register(
    _aten.index.Tensor,
    cases=lambda: [
        Case(lambda x, i: x[i], [(4, 5), Arg((3,), torch.int64, 0, 3)]),
        Case(lambda x, i: x[i], [(4, 5, 2), _IDS], name="matrix of positions"),
        Case(lambda x, i: x[:, i], [(2, 4, 5), _IDS], name="second"),
        Case(lambda x, i: x[..., i], [(2, 3, 4), _IDS], name="last"),
        Case(lambda x: x[:, torch.arange(1, 3)], [(2, 4)], name="computed"),
        Case(lambda x: x[:, torch.tensor([-1, 0, -4])] * 2, [(2, 4)], name="constant, from the end"),
        Case(lambda x: (x * 2)[torch.arange(2400).reshape(600, 4) % 7], [(7, 3)], name="constant, many"),
        Case(lambda x, i: x[i], [(4, 5), Arg((3,), torch.int64, 0, 3)], dynamic=[{}, {0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x, i: x[i, i], [(4, 5), Arg((3,), torch.int64, 0, 3)], refused="more than one", name="two"),
        Case(lambda x, i: x[i], [Arg((4, 5), torch.int64, 0, 9), Arg((3,), torch.int64, 0, 3)], refused="int64"),
    ],
)
def index(b: Builder, n: NodeView) -> Value:
    """x[:, ids]: the result has the dimensions of ids in the place of the indexed one.

    Only constant ids may be negative.
    """
    n.require_exact()
    indices = list(n.raw("indices"))
    used = [d for d, i in enumerate(indices) if i is not None]
    if len(used) != 1:
        raise Unsupported("positions in more than one dimension")
    x, ids = n.tensor("self"), n.value_of(indices[used[0]])
    if not ids.dtype.is_integer:
        raise Unsupported(f"{ids.dtype.name.lower()} positions")
    dim = used[0]
    known = b.data_of(ids)
    if known is not None and known.size and known.min() < 0:
        size = static(x.shape[dim], "negative positions: the size of their dimension")
        ids = b.constant(np.where(known < 0, known + size, known), ids.dtype, GgmlType.I32)
    if dim or x.rank == 1:
        x = b.f32(x)
    others = [d for d in range(x.rank) if d != dim]
    rest = tuple(x.shape[d] for d in others)
    table = b.contiguous(b.permute(x, [dim, *others])) if dim else x
    table = table if table.rank == 2 else b.reshape(table, (x.shape[dim], product(rest)))
    rows = b.reshape(b.get_rows(table, ids), (*ids.shape, *rest))
    order = [*range(ids.rank, ids.rank + dim), *range(ids.rank), *range(ids.rank + dim, rows.rank)]
    return b.permute(rows, order)


@register(
    _aten.gather.default,
    cases=lambda: [
        Case(lambda x, i: torch.gather(x, 1, i), [(2, 4), _IDS]),
        Case(lambda x, i: torch.gather(x, 0, i), [(4, 3), _IDS], name="first"),
        Case(lambda x, i: torch.gather(x, 1, i), [(5, 4), _IDS], name="fewer rows"),
        Case(lambda x, i: torch.gather(x, 1, i), [(2, 4, 3), Arg((2, 5, 3), torch.int64, 0, 3)], name="middle"),
        Case(lambda x, y: torch.gather(x, 1, torch.argmax(y, 1, keepdim=True)), [(3, 4), (3, 4)], name="computed"),
        Case(
            lambda x, i: torch.gather(x, 1, i),
            [(5, 4), Arg((5, 3), torch.int64, 0, 3)],
            dynamic=[{0: ("n", 1, 9)}, {0: ("n", 1, 9)}],
            name="dynamic",
        ),
    ],
)
def gather(b: Builder, n: NodeView) -> Value:
    """result[i, j, ...] = self[i, index[i, j, ...], ...] along one dimension."""
    n.require_exact()
    x, ids = b.f32(n.tensor("self")), n.tensor("index")
    if x.rank == 0 or ids.rank != x.rank:
        raise Unsupported(f"positions of rank {ids.rank} in a tensor of rank {x.rank}")
    dim = n.integer("dim") % x.rank
    ids = b.ids(ids, x.shape[dim])
    for d in range(x.rank):
        if d != dim and not same(x.shape[d], ids.shape[d]):
            x = b.slice(x, d, 0, ids.shape[d])
    last = [*(d for d in range(x.rank) if d != dim), dim]
    tables, places = b.contiguous(b.permute(x, last)), b.contiguous(b.permute(ids, last))
    lead = product(tables.shape[:-1])
    rows = b.gather_rows(b.reshape(tables, (lead, tables.shape[-1], 1)), b.reshape(places, (lead, places.shape[-1])))
    return b.permute(b.reshape(rows, places.shape), _inverse(last))


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(d) for d in range(len(order))]
