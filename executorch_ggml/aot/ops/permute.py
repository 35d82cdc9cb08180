"""Dimensions in another order: `permute`, `transpose`, `t`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Kind, Value

from ._views import floats, with_relu

_aten = torch.ops.aten


@register(
    _aten.permute.default,
    _aten.permute_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: (
        [
            Case(lambda x, p=p: with_relu(x.permute(p)), [(2, 3, 4)], name=f"{p}")
            for p in [(0, 2, 1), (1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2)]
        ]
        + [
            Case(lambda x, p=p: with_relu(x.permute(p)), [(2, 3, 4, 5)], name=f"{p}")
            for p in [(0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 3, 0), (3, 0, 1, 2), (2, 3, 0, 1)]
        ]
        + [
            Case(lambda x: with_relu(x.permute(3, 0, 1, 2)), [(1, 3, 1, 2)], name="with ones"),
            Case(lambda x: with_relu(x.permute(1, 2, 0).permute(1, 2, 0)), [(2, 3, 4)], name="twice"),
            Case(lambda x: with_relu(x.permute(2, 0, 3, 1, 4)), [(2, 3, 2, 3, 2)], name="rank 5"),
            Case(lambda x: with_relu(x.permute(0, 1, 4, 2, 3)), [(2, 3, 2, 3, 2)], name="rank 5, mergeable"),
            Case(lambda x: with_relu(x.permute(5, 3, 1, 4, 2, 0)), [(2, 3, 2, 3, 2, 2)], name="rank 6"),
            Case(lambda x: with_relu(x.permute(2, 0, 1)), [(5, 3, 4)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        ]
    ),
)
def permute(b: Builder, n: NodeView) -> Value:
    """Dimension i of the result is dimension dims[i] of the source."""
    return b.permute(_movable(b, n), n.integers("dims"))


@register(
    _aten.transpose.int,
    _aten.transpose_copy.int,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.transpose(0, 2)), [(2, 3, 4)]),
        Case(lambda x: with_relu(x.transpose(-1, 1)), [(2, 3, 4, 5)], name="negative"),
        Case(lambda x: with_relu(x.transpose(1, 3)), [(2, 3, 2, 4, 2)], name="rank 5"),
    ],
)
def transpose(b: Builder, n: NodeView) -> Value:
    """Two dimensions exchanged."""
    return b.transpose(_movable(b, n), n.integer("dim0"), n.integer("dim1"))


@register(
    _aten.t.default,
    _aten.t_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [Case(lambda x: with_relu(x.t()), [(3, 5)])],
)
def t(b: Builder, n: NodeView) -> Value:
    """Transposed matrix (vectors unchanged)."""
    x = _movable(b, n)
    return x if x.rank < 2 else b.transpose(x, 0, 1)


def _movable(b: Builder, n: NodeView) -> Value:
    v = n.tensor("self")
    return v if v.kind is Kind.WEIGHT and v.dtype.is_float else floats(b, n)
