"""Sums, means and maxima of embedding rows over bags: `_embedding_bag`, `_embedding_bag_forward_only`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value
from executorch_ggml.ir.dims import simplify

from . import _axis
from ._indices import positions as numbers
from .arange import iota
from .where import choose

_LIMIT = 1 << 22


def _between(b: Builder, n: NodeView, positions: Value, *, given_end: bool) -> Value:
    """[bags, positions]: 1 where a position belongs to a bag.

    A bag ends where the next one begins, the last one at the last index or, with ``given_end``, at the last offset.
    """
    offsets = b.rounded(n.tensor("offsets"))
    count = positions.shape[0]
    if not isinstance(count, int):
        raise Unsupported("a dynamic number of indices in bags")
    bags = simplify(offsets.shape[0] - 1) if n.flag("include_last_offset") else offsets.shape[0]
    if bags == 0:
        raise Unsupported("no bags")
    last = b.slice(offsets, 0, bags, 1) if given_end else b.fill(float(count), (1,))
    end = last if bags == 1 else b.concat([b.slice(offsets, 0, 1, simplify(bags - 1)), last], 0)
    start = b.reshape(b.slice(offsets, 0, 0, bags), (bags, 1))
    at = b.expand(b.reshape(positions, (1, count)), (bags, count))
    after = b.unary(UnaryKind.STEP, b.scale(b.binary(BinaryKind.SUB, at, start), 1.0, 0.5))
    before = b.unary(UnaryKind.STEP, b.scale(b.binary(BinaryKind.SUB, at, b.reshape(end, (bags, 1))), -1.0, -0.5))
    return b.mul(after, before)


def _cases() -> list[Case]:
    table = torch.randn(11, 6, generator=torch.Generator().manual_seed(1))

    def bag(mode: str) -> Case:
        def run(ids: torch.Tensor) -> torch.Tensor:
            return F.embedding_bag(ids, table, torch.tensor([0, 3, 3, 4]), mode=mode)

        return Case(run, [Arg((8,), torch.int64, 0, 10)], name=mode)

    def ended(mode: str, offsets: list[int]) -> Case:
        def run(ids: torch.Tensor) -> torch.Tensor:
            return F.embedding_bag(ids, table, torch.tensor(offsets), mode=mode, include_last_offset=True)

        return Case(run, [Arg((8,), torch.int64, 0, 10)], name=f"{mode}, end given {offsets}")

    ids = Arg((8,), torch.int64, 0, 10)
    return [
        *(bag(mode) for mode in ("sum", "mean", "max")),
        *(ended(mode, offsets) for mode in ("sum", "mean", "max") for offsets in ([0, 2, 2, 8], [0, 4], [0, 3, 6])),
        Case(lambda i: F.embedding_bag(i, table), [Arg((3, 4), torch.int64, 0, 10)], name="matrix of ids"),
        Case(
            lambda i, o, w: F.embedding_bag(i, table, o, mode="sum", per_sample_weights=w),
            [ids, Arg((1,), torch.int64, 0, 0), (8,)],
            name="weighted",
        ),
        Case(
            lambda i, o: F.embedding_bag(i, table, o, mode="sum", padding_idx=3),
            [ids, Arg((1,), torch.int64, 0, 0)],
            refused="padding",
            name="padding",
        ),
    ]


@register(torch.ops.aten._embedding_bag.default, torch.ops.aten._embedding_bag_forward_only.default, cases=_cases)
def embedding_bag(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """weight [N, K], indices [P], offsets [bags] -> [bags, K]; zeros for an empty bag. Modes: sum, mean, maximum."""
    n.require_float()
    if n.used_outputs() - {0}:
        raise Unsupported("the bookkeeping of embedding_bag, which gradients need")
    if n.integer("padding_idx") >= 0:
        raise Unsupported("bags that leave out a padding index")
    mode = n.integer("mode")
    ids = numbers(b, n, n.raw("indices"), "weight", 0, from_end=False)
    rows = b.get_rows(n.tensor("weight"), ids)
    weights = n.opt_tensor("per_sample_weights")
    if weights is not None:
        rows = b.mul(rows, b.reshape(b.f32(weights), (rows.shape[0], 1)))
    positions = iota(b, rows.shape[0])
    # torch looks at a given end of the last bag only where it sums, not where it counts or takes the maximum.
    members = _between(b, n, positions, given_end=False)
    bags = members.shape[0]
    if mode < 2:
        summed = _between(b, n, positions, given_end=True) if n.flag("include_last_offset") else members
        total = b.matmul(summed, rows)
        if mode == 1:
            total = b.binary(BinaryKind.DIV, total, b.clamp(b.sum_rows(members), minimum=1.0))
        return total, None, None, None
    shape = tuple(_axis.sizes((bags, *rows.shape), "maxima of bags"))
    if math.prod(shape) > _LIMIT:
        raise Unsupported(f"maxima of {bags} bags among {rows.shape[0]} rows")
    inside = b.reshape(members, (bags, rows.shape[0], 1))
    spread = choose(b, inside, b.reshape(rows, (1, *rows.shape)), -math.inf, shape)
    full = b.unary(UnaryKind.STEP, b.sum_rows(members))
    largest = choose(b, full, b.reduce("max", spread, [1], False), 0.0, (bags, rows.shape[1]))
    return largest, None, None, None
