"""Repetition: `expand` and `repeat`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

from ._views import floats, with_relu

_aten = torch.ops.aten


@register(
    _aten.expand.default,
    _aten.expand_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.expand(3, 5)), [(1, 5)]),
        Case(lambda x: with_relu(x.expand(3, 5)), [(3, 1)], name="rows"),
        Case(lambda x: with_relu(x.expand(2, 3, 4, -1)), [(3, 1, 5)], name="new"),
        Case(lambda x: with_relu(x[:, :, None].expand(2, 3, 4, 5, 2).reshape(2, 12, 5, 2)), [(2, 3, 5, 2)], name="GQA"),
        Case(lambda x: with_relu(x.t().expand(2, 5, 3)), [(3, 5)], name="transposed"),
        Case(
            lambda x, y: y + x.expand(y.shape[0], -1), [(1, 3), (5, 3)], dynamic=[{}, {0: ("n", 1, 9)}], name="dynamic"
        ),
    ],
)
def expand(b: Builder, n: NodeView) -> Value:
    """Dimensions of one repeated."""
    return b.expand(floats(b, n), n.out.shape)


@register(
    _aten.repeat.default,
    bounds=bounds.first,
    flops=flops.nothing,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: x.repeat(2, 3), [(3, 5)]),
        Case(lambda x: x.repeat(2, 1, 3), [(3, 5)], name="new"),
        Case(lambda x: x.repeat(1, 2, 1, 2, 1), [(2, 3, 2, 2, 2)], name="rank 5"),
        Case(lambda x: x.t().repeat(1, 2), [(3, 5)], name="transposed"),
        Case(lambda x: x.repeat(x.shape[0], 2), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def repeat(b: Builder, n: NodeView) -> Value:
    """The whole tensor several times along each dimension."""
    return b.repeat(floats(b, n), n.dims("repeats"))
