"""Scores by distance, read as scores by key."""

from __future__ import annotations

import torch

from executorch_ggml.aot import custom_ops_audio
from executorch_ggml.aot.registry import Builder, Case, NodeView, Unsupported, Value, register


@register(
    torch.ops.executorch_ggml.relative_shift.default,
    cases=lambda: [
        Case(custom_ops_audio.relative_shift, [(3, 4, 7)]),
        Case(custom_ops_audio.relative_shift, [(2, 1, 1)], name="one query"),
        Case(lambda x: custom_ops_audio.relative_shift(x.transpose(0, 1)), [(4, 3, 7)], name="transposed"),
        Case(
            lambda q, p: custom_ops_audio.relative_shift(q @ p.transpose(1, 2)) + q.sum(),
            [(2, 5, 4), (2, 9, 4)],
            name="of a product",
        ),
    ],
)
def relative_shift(b: Builder, n: NodeView) -> Value:
    """scores [H, T, 2T - 1] -> [H, T, T]: a window on the same memory, of rows that start one element earlier each."""
    n.require_float()
    scores = n.tensor("scores")
    if scores.rank != 3:
        raise Unsupported(f"scores of rank {scores.rank}")
    return b.skew(scores)
