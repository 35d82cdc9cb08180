"""`median`: the middle element, and its position."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, Value
from executorch_ggml.ir.dims import product, static

from ._nan import sortable, with_nan
from .argmax import first_maximum
from .compare import is_number
from .where import choose

_aten = torch.ops.aten


@register(
    _aten.median.default,
    bounds=bounds.first,
    cases=lambda: [
        Case(torch.median, [(5, 7)]),
        Case(torch.median, [(6,)], name="even"),
        Case(torch.median, [Arg((5, 7), torch.int8, -99, 99)], name="small ints"),
    ],
)
def median(b: Builder, n: NodeView) -> Value:
    """The middle one of all elements, the lower middle of an even number."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    middle, _ = _middle(b, b.reshape(b.contiguous(x), (1, product(x.shape))))
    return _typed(n, with_nan(b, x, [], False, b.reshape(middle, ())))


def _typed(n: NodeView, value: Value) -> Value:
    """The value in the type of the node's first result, if those are integers."""
    return value if n.out.dtype.is_float else value.with_dtype(n.out.dtype)


@register(
    _aten.median.dim,
    bounds=bounds.first,
    cases=lambda: [
        *(Case(lambda x, d=d: torch.median(x, d).values, [(3, 4, 5)], name=f"{d}") for d in (0, 1, -1)),
        Case(lambda x: torch.median(x, 1, keepdim=True).values, [(2, 3, 4, 5)], name="keep"),
        Case(lambda x: tuple(torch.median(x, 1)), [(3, 4, 5)], name="positions"),
        Case(lambda x: torch.median(x, 0, keepdim=True).indices, [(7, 3)], name="positions alone"),
        Case(lambda x: torch.median(torch.relu(x), 1).values, [(3, 4, 5)], name="ties"),
        Case(lambda x: torch.median(x, 1).values, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: torch.median(x, 1).values, [Arg((4, 6), torch.uint8, 0, 255)], name="bytes"),
    ],
)
def median_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """The lower middle value along a dimension, and where one lies: of several equal ones torch names any."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    if x.rank == 0:
        raise Unsupported("the median of a single number")
    if not n.out.dtype.is_float and 1 in n.used_outputs():
        raise Unsupported("the place of a median of integers: torch names any of the equal ones")
    dim, keepdim = n.integer("dim") % x.rank, n.flag("keepdim")
    rows = b.contiguous(b.permute(x, [*(d for d in range(x.rank) if d != dim), dim]))
    values, at = _middle(b, rows)
    values = _typed(n, with_nan(b, x, [dim], keepdim, b.reshape(values, n.outs[0].shape)))
    if 1 not in n.used_outputs():
        return values, None
    missing = b.scale(is_number(b, rows), -1.0, 1.0)
    nowhere = b.reshape(b.f32(first_maximum(b, missing)), at.shape)
    found = choose(b, b.reshape(b.max_rows(missing), at.shape), nowhere, b.f32(at), at.shape)
    return values, b.reshape(found, n.outs[1].shape).with_dtype(DType.INT64)


def _middle(b: Builder, rows: Value) -> tuple[Value, Value]:
    """Of each row [..., n]: the lower middle element and its position, both [rows, 1]."""
    width = static(rows.shape[-1], "the reduced dimension")
    count = product(rows.shape[:-1])
    rows = b.reshape(rows, (count, width))
    at = b.contiguous(b.slice(b.argsort(sortable(b, rows), descending=False), 1, (width - 1) // 2, 1))
    return b.reshape(b.gather_rows(b.reshape(rows, (count, width, 1)), at), (count, 1)), at
