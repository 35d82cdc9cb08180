"""Positions of extrema: `argmax`, `argmin`, and `most_likely`, the token of greedy sampling."""

from __future__ import annotations

import torch

from executorch_ggml.aot import custom_ops_audio
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.bounds import EXACT
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value
from executorch_ggml.ir.dims import product

from .arange import iota
from .compare import is_number

_aten = torch.ops.aten


def first_maximum(b: Builder, rows: Value) -> Value:
    """Position of the first maximum, or of the first NaN, of each row [..., n] -> [...], integers.

    ggml's argmax names the last maximum, and skips NaN.
    """
    number = is_number(b, rows)
    missing = b.unary(UnaryKind.STEP, b.sum_rows(b.scale(number, -1.0, 1.0)))
    # max - NaN is NaN, and step(NaN) is 0. So if the row has a NaN, every number is marked as "less".
    is_less = b.unary(UnaryKind.STEP, b.binary(BinaryKind.SUB, b.max_rows(rows), rows))
    is_less = b.unary(UnaryKind.STEP, b.add(is_less, b.mul(number, missing)))
    # 0, -1, -2, ... at the maxima. All other elements get less than any of these.
    falling = b.scale(iota(b, rows.shape[-1]), -1.0)
    return b.argmax(b.add(b.scale(is_less, float(-EXACT)), falling))


def position(b: Builder, n: NodeView, sign: float) -> Value:
    x = b.scale(n.tensor("self"), sign)
    if not n.has("dim") or x.rank == 0:
        flat = b.reshape(b.contiguous(x), (1, product(x.shape)))
        return b.reshape(first_maximum(b, flat), n.out.shape)
    dim = n.integer("dim") % x.rank
    rows = b.contiguous(b.permute(x, [*(d for d in range(x.rank) if d != dim), dim]))
    return b.reshape(first_maximum(b, rows), n.out.shape)


def _cases(name: str) -> list[Case]:
    fn = getattr(torch, name)
    return [
        *(Case(lambda x, d=d: fn(x, d), [(3, 4, 5)], name=f"{d}") for d in (0, 1, 2, -2)),
        Case(lambda x: fn(x, 1, keepdim=True), [(3, 4, 5)], name="keep"),
        Case(fn, [(3, 4)], name="all"),
        Case(lambda x: fn(x, keepdim=True), [(3, 4)], name="all keep"),
        Case(lambda x: fn(torch.relu(x), 1), [(6, 9)], name="ties"),
        Case(lambda x: fn(x, 2), [(2, 3, 4, 2, 3)], name="rank 5"),
        Case(lambda x: fn(x.t(), 0), [(3, 5)], name="transposed"),
        Case(lambda x: fn(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: fn(torch.relu(x), 0), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="over dynamic"),
        Case(lambda x: fn(x, 1), [Arg((3, 5), torch.int64, -9, 9)], refused="int64", name="integers"),
    ]


@register(_aten.argmax.default, bounds=bounds.position, cases=lambda: _cases("argmax"))
def argmax(b: Builder, n: NodeView) -> Value:
    """Position of the first maximum, along a dimension or in the flattened tensor."""
    return position(b, n, 1.0)


@register(_aten.argmin.default, bounds=bounds.position, cases=lambda: _cases("argmin"))
def argmin(b: Builder, n: NodeView) -> Value:
    """Position of the first minimum."""
    return position(b, n, -1.0)


@register(
    torch.ops.executorch_ggml.most_likely.default,
    cases=lambda: [
        Case(custom_ops_audio.most_likely, [(3, 7)]),
        Case(custom_ops_audio.most_likely, [(5,)], name="one row"),
        Case(custom_ops_audio.most_likely, [(2, 3, 5)], name="rank 3"),
        Case(lambda x: custom_ops_audio.most_likely(x[:, 2:]), [(4, 9)], name="of a view"),
        Case(custom_ops_audio.most_likely, [(4, 6)], dynamic=({0: ("n", 1, 9)},), name="dynamic"),
    ],
)
def most_likely(b: Builder, n: NodeView) -> Value:
    """scores [..., n] -> int64 [...]."""
    return b.argmax(n.tensor("scores"))
