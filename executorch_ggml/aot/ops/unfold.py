"""Overlapping pieces of a dimension."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Dim, Value
from executorch_ggml.ir.dims import product, simplify

from . import _axis

_aten = torch.ops.aten

# Each is a node, and one that joins it.
_MOST_BLOCKS = 64


@register(
    _aten.unfold.default,
    _aten.unfold_copy.default,
    cases=lambda: [
        Case(lambda x: torch.relu(x.unfold(0, 3, 1)), [(7,)], name="vector"),
        Case(lambda x: torch.relu(x.unfold(-1, 4, 2)), [(3, 13)], name="rows"),
        Case(lambda x: torch.relu(x.unfold(-1, 2, 5)), [(3, 13)], name="gaps"),
        Case(lambda x: torch.relu(x.unfold(0, 2, 1)), [(5, 3)], name="columns"),
        Case(lambda x: torch.relu(x.unfold(1, 3, 2)), [(2, 7, 3, 2)], name="rank 4"),
        Case(lambda x: torch.relu(x.unfold(2, 2, 2).unfold(3, 2, 2)), [(2, 3, 6, 4)], name="patches"),
        Case(lambda x: torch.relu(x.t().unfold(1, 3, 2)), [(7, 4)], name="transposed"),
        Case(
            lambda x: x.unfold(-1, 4, 2).mean(-1), [(3, 13)], dynamic=[{1: ("n", 6, 40)}], name="means, dynamic length"
        ),
        Case(lambda x: x.unfold(1, 3, 2).sum(-1), [(3, 13, 2)], dynamic=[{1: ("n", 6, 40)}], name="sums, inner"),
        Case(lambda x: torch.relu(x.unfold(1, 3, 2)), [(5, 9)], dynamic=[{0: ("b", 1, 6)}], name="dynamic batch"),
    ],
)
def unfold(b: Builder, n: NodeView) -> Value:
    """The pieces of a dimension become that dimension, and their elements the last one."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    shape = n.out.shape
    if x.rank == 0:
        return b.reshape(x, shape)
    dim, step = n.integer("dimension") % x.rank, n.integer("step")
    order = [*(d for d in range(x.rank) if d != dim), dim]
    rows = b.contiguous(b.permute(x, order))
    pieces = _pieces(
        b, b.reshape(rows, (product(rows.shape[:-1]), rows.shape[-1])), shape[dim], n.integer("size"), step
    )
    pieces = b.reshape(pieces, (*(x.shape[d] for d in order[:-1]), *pieces.shape[1:]))
    # The pieces go back to where the dimension was; their contents stay behind.
    back = [order[:-1].index(d) if d != dim else x.rank - 1 for d in range(x.rank)]
    return b.permute(pieces, [*back, x.rank])


def _pieces(b: Builder, rows: Value, count: Dim, size: int, step: int) -> Value:
    """[N, L] as [N, count, size]: rows cut into blocks of ``step``; a piece is a few blocks in a row."""
    whole, rest = divmod(size, step)
    if whole > _MOST_BLOCKS:
        raise Unsupported(f"pieces of {size} entries, {step} apart")
    last = step - rest if rest else 0
    rows = b.slice(rows, 1, 0, simplify((count - 1) * step + size))
    blocks = simplify(count - 1 + whole + (1 if rest else 0))
    rows = b.contiguous(_axis.pad(b, rows, 1, 0, last))
    cut = b.reshape(rows, (rows.shape[0], blocks, step))
    parts = [b.slice(cut, 1, i, count) for i in range(whole)]
    if rest:
        parts.append(b.slice(b.slice(cut, 1, whole, count), 2, 0, rest))
    return b.contiguous(_axis.concat(b, parts, 2))
