"""Slices added or copied along one dimension, at positions: `index_add`, `index_copy`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Kind, ScatterKind, Unsupported, Value

from ._indices import positions
from ._state import buffer_cases, write_rows
from .index_put import put

_aten = torch.ops.aten
_IDS = Arg((7,), torch.int64, 0, 4)


def _cases(fn: torch._ops.OpOverload) -> list[Case]:
    return [
        Case(lambda x, i, v: fn(x, 0, i, v), [(5, 3, 4), _IDS, (7, 3, 4)], name="first"),
        Case(lambda x, i, v: fn(x, -2, i, v), [(2, 5, 3), _IDS, (2, 7, 3)], name="middle"),
        Case(lambda x, i, v: fn(x, 4, i, v), [(2, 1, 2, 3, 5), _IDS, (2, 1, 2, 3, 7)], name="rank 5"),
        Case(lambda x, i, v: fn(x, 0, i, v), [(5,), _IDS, (7,)], name="vector"),
        Case(lambda x, i, v: fn(x.t(), 1, i, v.t()), [(5, 3), _IDS, (7, 3)], name="transposed"),
    ]


@register(
    _aten.index_copy.default,
    keep=True,
    bounds=bounds.union(0, 3),
    cases=lambda: [*buffer_cases(), *_cases(_aten.index_copy.default)],
)
def index_copy(b: Builder, n: NodeView) -> Value:
    """self with source's slices at positions along a dimension."""
    n.require_float()
    target = n.tensor("self")
    if target.state >= 0:
        dim = n.integer("dim") % max(target.rank, 1)
        index = n.tensor("index")
        if index.kind is not Kind.INPUT:
            index = positions(b, n, n.raw("index"), "self", dim, from_end=False)
        return write_rows(b, target, dim, index, n.tensor("source"))
    return _along(b, n, ScatterKind.SET, 1.0)


@register(
    _aten.index_add.default,
    keep=True,
    cases=lambda: [
        *_cases(_aten.index_add.default),
        Case(lambda x, i, v: torch.index_add(x, 0, i, v, alpha=-2.5), [(5, 3), _IDS, (7, 3)], name="alpha"),
    ],
)
def index_add(b: Builder, n: NodeView) -> Value:
    """self with alpha times source's slices added at positions along a dimension."""
    n.require_float()
    return _along(b, n, ScatterKind.ADD, n.number("alpha"))


def _along(b: Builder, n: NodeView, kind: ScatterKind, alpha: float) -> Value:
    x, source = b.f32(n.tensor("self")), b.scale(b.f32(n.tensor("source")), alpha)
    if x.rank == 0:
        raise Unsupported("positions in a single number")
    dim = n.integer("dim") % x.rank
    ids = positions(b, n, n.raw("index"), "self", dim, from_end=False)
    ids = b.reshape(ids, (ids.numel,))
    source = b.reshape(b.contiguous(source), (*x.shape[:dim], ids.numel, *x.shape[dim + 1 :]))
    return put(b, kind, x, [dim], ids, x.shape[dim], source)
