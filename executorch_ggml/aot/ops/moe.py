"""Mixture of experts: `mul_mat_id`, products with a matrix for each row, and `moe_topk`, the choice of experts."""

from __future__ import annotations

from typing import Any

import torch

from executorch_ggml.aot import custom_ops
from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Arg, Builder, Case, NodeView, Unsupported, Value, register

from ._nan import sortable


def _mul_mat_id_cases() -> list[Case]:
    experts = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(2))

    def run(x: torch.Tensor, ids: torch.Tensor) -> Any:
        return custom_ops.mul_mat_id(experts, x, ids)

    ids = Arg((5, 2), torch.int64, 0, 3)
    return [
        Case(run, [(5, 1, 8), ids], dynamic=({0: ("t", 1, 9)}, {0: ("t", 1, 9)}), name="shared_row"),
        Case(run, [(5, 2, 8), ids], name="row_per_expert"),
    ]


def _topk_cases() -> list[Case]:
    numbered = torch.ones(6, 2, 4) * torch.arange(6.0)[:, None, None]

    def values(scores: torch.Tensor) -> Any:
        return custom_ops.moe_topk(scores, 3)[0]

    def gathered(scores: torch.Tensor, x: torch.Tensor) -> Any:
        return custom_ops.mul_mat_id(numbered, x, custom_ops.moe_topk(scores, 2)[1])

    return [
        Case(values, [(5, 6)], dynamic=({0: ("t", 1, 9)},), name="values"),
        Case(values, [(4, 3)], name="all_of_them"),
        Case(gathered, [(5, 6), (5, 1, 4)], name="ids_feed_a_product"),
    ]


@register(torch.ops.executorch_ggml.mul_mat_id.default, flops=flops.experts, cases=_mul_mat_id_cases)
def mul_mat_id(b: Builder, n: NodeView) -> Value:
    """experts [E, N, K], x [T, 1 | n_used, K], ids [T, n_used] -> [T, n_used, N]."""
    n.require_float()
    return b.mul_mat_id(n.tensor("experts"), n.tensor("x"), n.tensor("ids"))


@register(torch.ops.executorch_ggml.moe_topk.default, cases=_topk_cases)
def moe_topk(b: Builder, n: NodeView) -> tuple[Value, Value]:
    """scores [T, E] -> (values [T, k], ids [T, k]).

    A sort, not ggml's top_k: that one leaves the first two in the wrong order on purpose.
    """
    scores = b.contiguous(b.f32(n.tensor("scores")))
    k = n.integer("k")
    if scores.rank != 2:
        raise Unsupported("scores must be a matrix")
    tokens, experts = scores.shape
    ids = b.slice(b.argsort(sortable(b, scores), descending=True), 1, 0, k)
    values = b.gather_rows(b.reshape(scores, (tokens, experts, 1)), ids)
    return b.reshape(values, (tokens, k)), ids
