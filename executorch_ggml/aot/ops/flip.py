"""`flip`."""

from __future__ import annotations

import numpy as np
import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, Value
from executorch_ggml.ir.dims import product, static

_aten = torch.ops.aten


@register(
    _aten.flip.default,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: torch.flip(x, (0,)), [(5, 3)]),
        Case(lambda x: torch.flip(x, (1,)), [(2, 4, 3)], name="middle"),
        Case(lambda x: torch.flip(x, (-1, 0)), [(2, 3, 4)], name="two"),
        Case(lambda x: torch.flip(x.t(), (0,)), [(5, 3)], name="transposed"),
        Case(lambda x: torch.flip(x, (3,)), [(2, 3, 2, 4, 2)], name="rank 5"),
        Case(lambda x: torch.flip(x, (0,)), [(3, 5)], dynamic=[{1: ("n", 1, 9)}], name="dynamic"),
    ],
)
def flip(b: Builder, n: NodeView) -> Value:
    """Reversed along dimensions: rows fetched from the last to the first."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    for dim in {d % x.rank for d in n.integers("dims")} if x.rank else ():
        x = flipped(b, x, dim)
    return x


def flipped(b: Builder, x: Value, dim: int) -> Value:
    """A value reversed along a dimension of static size."""
    size = static(x.shape[dim], "the reversed dimension")
    if size < 2:
        return x
    order = [dim, *(d for d in range(x.rank) if d != dim)]
    rows = b.contiguous(b.permute(x, order))
    backwards = b.constant(np.arange(size - 1, -1, -1), DType.INT64, GgmlType.I32)
    flat = b.get_rows(b.reshape(rows, (size, product(rows.shape[1:]))), backwards)
    return b.permute(b.reshape(flat, rows.shape), [order.index(d) for d in range(x.rank)])
