"""Rows of a table by index."""

from __future__ import annotations

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Builder, Case, NodeView, Value, register

from ._indices import positions


def _cases() -> list[Case]:
    table = torch.randn(11, 6, generator=torch.Generator().manual_seed(1))

    def plain(ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(ids, table)

    def padded(ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(ids, table, padding_idx=3)

    def both(ids: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.embedding(ids, rows)

    ids = Arg((1, 5), torch.int64, 0, 10)
    return [
        Case(plain, [ids], dynamic=({1: ("t", 1, 9)},), name="one_sequence"),
        Case(plain, [Arg((3, 4), torch.int64, 0, 10)], name="batch"),
        Case(plain, [Arg((2, 3, 4), torch.int64, 0, 10)], name="rank_3_ids"),
        Case(plain, [Arg((7,), torch.int32, 0, 10)], name="int32_ids"),
        Case(padded, [Arg((2, 5), torch.int64, 0, 10)], name="padding_idx"),
        Case(both, [Arg((2, 5), torch.int64, 0, 8), Arg((9, 4))], name="computed_table"),
    ]


@register(torch.ops.aten.embedding.default, bounds=bounds.first, flops=flops.nothing, ahead_of_time=True, cases=_cases)
def embedding(b: Builder, n: NodeView) -> Value:
    """weight [N, K], indices of any shape. `padding_idx` matters to gradients only."""
    n.require_exact()
    table = n.tensor("weight")
    ids = positions(b, n, n.raw("indices"), "weight", 0, from_end=False)
    return b.get_rows(table if table.dtype.is_float else b.f32(table), ids)
