"""`cat` and `stack`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

_aten = torch.ops.aten


@register(
    _aten.cat.default,
    bounds=bounds.union_of_list,
    flops=flops.nothing,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x, y: torch.cat([x, y], 0), [(2, 3), (4, 3)]),
        Case(lambda x, y: torch.cat([x, y, x], -1), [(2, 3), (2, 5)], name="three"),
        Case(lambda x, y: torch.cat([x.t(), y], 1), [(3, 2), (2, 5)], name="transposed"),
        Case(lambda x, y: torch.cat([x, y], 1), [(2, 3, 4, 5), (2, 1, 4, 5)], name="rank 4"),
        Case(lambda x, y: torch.cat([x, y], 2), [(2, 3, 1, 2, 2), (2, 3, 4, 2, 2)], name="rank 5"),
        Case(lambda x, y: torch.cat([x, y], 0), [(5, 3), (2, 3)], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
        Case(lambda x, y: torch.cat([x, y], 0), [(0,), (2, 3)], name="legacy empty"),
        Case(lambda x, y: torch.cat([x, y], 0), [Arg((2,), torch.int64, 0, 9)] * 2, refused="int64", name="int"),
    ],
)
def cat(b: Builder, n: NodeView) -> Value:
    """Tensors one after the other along a dimension."""
    n.require_exact()
    parts = [v for v in n.tensors("tensors") if v.shape != (0,)]
    return b.concat(parts, n.integer("dim") % n.out.rank)


@register(
    _aten.stack.default,
    bounds=bounds.union_of_list,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x, y: torch.stack([x, y], 0), [(2, 3), (2, 3)]),
        Case(lambda x, y: torch.stack([x, y], -1).flatten(-2), [(2, 3, 4), (2, 3, 4)], name="interleave"),
        Case(lambda x, y: torch.stack([x, y], -1), [(2, 3, 4, 2), (2, 3, 4, 2)], name="to rank 5"),
    ],
)
def stack(b: Builder, n: NodeView) -> Value:
    """Tensors along a new dimension."""
    n.require_exact()
    dim = n.integer("dim") % n.out.rank
    return b.concat([b.unsqueeze(b.f32(v), dim) for v in n.tensors("tensors")], dim)
