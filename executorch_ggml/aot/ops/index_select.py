"""Entries along one dimension, by a vector of positions."""

from __future__ import annotations

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import is_one, product

from ._indices import positions

_IDS = Arg((3,), torch.int64, 0, 3)


def _at(dim: int) -> Case:
    return Case(lambda x, i: torch.index_select(x, dim, i), [(4, 5, 6), _IDS], name=f"dim {dim}")


@register(
    torch.ops.aten.index_select.default,
    bounds=bounds.first,
    flops=flops.nothing,
    ahead_of_time=True,
    cases=lambda: [
        *(_at(d) for d in (0, 1, 2, -1)),
        Case(lambda x, i: torch.index_select(x, 0, i), [(7,), _IDS], name="vector"),
        Case(lambda x, i: torch.index_select(x.t(), 1, i), [(4, 5), _IDS], name="transposed"),
        Case(lambda x, i: torch.index_select(x, 3, i), [(2, 3, 2, 4, 2), _IDS], name="rank 5"),
        Case(lambda x, i: torch.index_select(x, 1, i), [(4, 5), Arg((3,), torch.int32, 0, 3)], name="int32"),
        Case(lambda x: torch.index_select(x, 1, torch.tensor([3, 0, 0])), [(2, 4)], name="constant positions"),
        Case(
            lambda x, i: torch.index_select(x, 0, i), [(4, 5), _IDS], dynamic=[{}, {0: ("n", 1, 9)}], name="dynamic ids"
        ),
        Case(lambda x, i: torch.index_select(x, 1, i), [(5, 4), _IDS], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
        Case(lambda x, i: torch.index_select(x, 0, i), [Arg((4,), torch.int64, 0, 9), _IDS], refused="int64"),
    ],
)
def index_select(b: Builder, n: NodeView) -> Value:
    """x[..., index, ...] along one dimension: rows of a table, the dimension being made the first one."""
    n.require_float()
    x, index = n.tensor("self"), n.tensor("index")
    if index.rank != 1 or x.rank == 0:
        raise Unsupported(f"positions of rank {index.rank} in a tensor of rank {x.rank}")
    dim = n.integer("dim") % x.rank
    others = [d for d in range(x.rank) if d != dim]
    if x.rank == 1 or all(is_one(d) for d in x.shape[:dim]):
        # The table may stay where and as it is, a weight of any type.
        table = x if x.rank == 2 and dim == 0 else b.f32(x)
    else:
        table = b.contiguous(b.permute(b.f32(x), [dim, *others]))
    width = product(x.shape[d] for d in others)
    index = positions(b, n, n.raw("index"), "self", dim, from_end=False)
    rows = b.get_rows(b.reshape(table, (x.shape[dim], width)), index)
    rows = b.reshape(rows, (index.shape[0], *(x.shape[d] for d in others)))
    back = list(range(1, x.rank))
    back.insert(dim, 0)
    return b.permute(rows, back)
