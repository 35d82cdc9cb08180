"""`gather`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product, same

from ._indices import positions
from .index import _IDS

_aten = torch.ops.aten


def _inverse(order: Sequence[int]) -> list[int]:
    return [list(order).index(d) for d in range(len(order))]


@register(
    _aten.gather.default,
    bounds=bounds.first,
    flops=flops.nothing,
    ahead_of_time=True,
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
    ids = positions(b, n, n.raw("index"), "self", dim, from_end=False)
    for d in range(x.rank):
        if d != dim and not same(x.shape[d], ids.shape[d]):
            x = b.slice(x, d, 0, ids.shape[d])
    last = [*(d for d in range(x.rank) if d != dim), dim]
    tables, places = b.contiguous(b.permute(x, last)), b.contiguous(b.permute(ids, last))
    lead = product(tables.shape[:-1])
    rows = b.gather_rows(b.reshape(tables, (lead, tables.shape[-1], 1)), b.reshape(places, (lead, places.shape[-1])))
    return b.permute(b.reshape(rows, places.shape), _inverse(last))
