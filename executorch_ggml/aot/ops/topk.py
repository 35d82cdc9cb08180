"""`topk` and `kthvalue`: the largest elements and where they are."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import Builder, Value

from ._largest import back, largest

_aten = torch.ops.aten


declare("kthvalue", bounds=bounds.first)


@register(
    _aten.topk.default,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: tuple(torch.topk(x, 3)), [(4, 7)]),
        Case(lambda x: torch.topk(x, 2)[1], [(2, 3, 5)], name="positions"),
        Case(lambda x: torch.topk(x, 1, dim=1)[0], [(2, 5, 3)], name="middle"),
        Case(lambda x: torch.topk(x, 2, largest=False)[0], [(4, 7)], name="smallest"),
        Case(lambda x: tuple(torch.topk(x, 2)), [(5, 6)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: tuple(torch.topk(x, 2)), [Arg((4, 7), torch.int64)], refused="int64", name="ints"),
        Case(lambda x: torch.topk(x, 3, 0)[0], [Arg((7, 4), torch.int8, -9, 9)], name="small ints"),
    ],
)
def topk(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """values and indices of the k largest (or smallest) along a dimension. Sorted whether asked for or not.

    On the CPU equal values come in torch's order, on other devices in any.
    """
    n.require_exact()
    x = n.tensor("self")
    if x.rank == 0:
        raise Unsupported("the largest of a single number")
    dim = n.integer("dim") % x.rank
    sign = 1.0 if n.flag("largest") else -1.0
    rows = x if dim == x.rank - 1 else b.transpose(b.f32(x), dim, -1)
    return back(b, n, dim, *largest(b, rows, n.integer("k"), sign, whole=False))
