"""`index`: advanced indexing with tensors of positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product

from ._indices import flat_positions, positions

_aten = torch.ops.aten


_IDS = Arg((2, 3), torch.int64, 0, 3)


_LAST = Arg((3,), torch.int64, 0, 4)


@register(
    _aten.index.Tensor,
    bounds=bounds.first,
    flops=flops.nothing,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x, i: x[i], [(4, 5), Arg((3,), torch.int64, 0, 3)]),
        Case(lambda x, i: x[i], [(4, 5, 2), _IDS], name="matrix of positions"),
        Case(lambda x, i: x[:, i], [(2, 4, 5), _IDS], name="second"),
        Case(lambda x, i: x[..., i], [(2, 3, 4), _IDS], name="last"),
        Case(lambda x: x[:, torch.arange(1, 3)], [(2, 4)], name="computed"),
        Case(lambda x: x[:, torch.tensor([-1, 0, -4])] * 2, [(2, 4)], name="constant, from the end"),
        Case(lambda x: (x * 2)[torch.arange(2400).reshape(600, 4) % 7], [(7, 3)], name="constant, many"),
        Case(lambda x, i: x[i], [(4, 5), Arg((3,), torch.int64, 0, 3)], dynamic=[{}, {0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x, i: x[i], [(4, 5), Arg((3,), torch.int64, -4, 3)], name="from the end"),
        Case(lambda x, i: x[:, i], [(2, 4), Arg((3,), torch.int32, -4, 3)], name="from the end, int32"),
        Case(lambda x, i: x[i, i], [(4, 5), Arg((3,), torch.int64, -4, 3)], name="two"),
        Case(lambda x, i, j: x[:, i, j], [(2, 4, 5), Arg((3, 1), torch.int64, 0, 3), _LAST], name="two, broadcast"),
        Case(lambda x, i, j: x[i, :, j], [(4, 2, 5, 3), _IDS, _LAST], name="two, apart"),
        Case(lambda x, i: x[torch.arange(2)[:, None], i, 1], [(2, 4, 5), _IDS], name="three"),
        Case(lambda x: x[torch.arange(4), torch.tensor([0, -1, 1, -5])], [(4, 5)], name="two constants"),
        Case(lambda x, i: x[i, :, i], [(4, 2, 4, 2, 3), Arg((3,), torch.int64, -4, 3)], name="rank 5"),
        Case(lambda x, i, j: x.t()[i, j], [(5, 4), _IDS, _LAST], name="two, transposed"),
        Case(
            lambda x, i, j: x[i, j],
            [(4, 5, 2), Arg((3,), torch.int64, -4, 3), Arg((3,), torch.int64, -5, 4)],
            dynamic=[{}, {0: ("n", 1, 9)}, {0: ("n", 1, 9)}],
            name="two, dynamic",
        ),
        Case(lambda x, i: x[i], [Arg((4, 5), torch.int64, 0, 9), Arg((3,), torch.int64, 0, 3)], refused="int64"),
    ],
)
def index(b: Builder, n: NodeView) -> Value:
    """x[:, ids]: the result has the dimensions of ids in the place of the indexed ones; -1 is the last entry.

    Where the indexed dimensions are not neighbours, the dimensions of ids come first.
    """
    n.require_exact()
    indices = list(n.raw("indices"))
    used = [d for d, i in enumerate(indices) if i is not None]
    x = n.tensor("self")
    if not used:
        raise Unsupported("no positions")
    if len(used) > 1 and used != list(range(used[0], used[0] + len(used))):
        return _apart(b, n, used)
    dim, after = used[0], used[-1] + 1
    if len(used) == 1:
        ids = positions(b, n, indices[dim], "self", dim, from_end=True)
        rows = x.shape[dim]
    else:
        ids, rows = flat_positions(b, n, [indices[d] for d in used], "self", used, from_end=True)
    others = [*range(dim), *range(after, x.rank)]
    if len(used) > 1 or dim or x.rank == 1 or not x.dtype.is_float:
        x = b.f32(x)
    rest = tuple(x.shape[d] for d in others)
    table = b.contiguous(b.permute(x, [*used, *others])) if dim else x
    if table.rank != 2 or len(used) > 1:
        table = b.reshape(b.contiguous(table), (rows, product(rest)))
    found = b.reshape(b.get_rows(table, ids), (*ids.shape, *rest))
    order = [*range(ids.rank, ids.rank + dim), *range(ids.rank), *range(ids.rank + dim, found.rank)]
    return b.permute(found, order)


def _apart(b: Builder, n: NodeView, used: Sequence[int]) -> Value:
    """The same where the indexed dimensions are not neighbours."""
    indices, x = list(n.raw("indices")), b.f32(n.tensor("self"))
    ids, rows = flat_positions(b, n, [indices[d] for d in used], "self", used, from_end=True)
    others = [d for d in range(x.rank) if d not in used]
    rest = tuple(x.shape[d] for d in others)
    table = b.reshape(b.contiguous(b.permute(x, [*used, *others])), (rows, product(rest)))
    return b.reshape(b.get_rows(table, ids), (*ids.shape, *rest))
