"""The greedy choice."""

from __future__ import annotations

import torch

from executorch_ggml.aot import custom_ops_audio
from executorch_ggml.aot.registry import Builder, Case, NodeView, Value, register


@register(
    torch.ops.executorch_ggml.likeliest.default,
    cases=lambda: [
        Case(custom_ops_audio.likeliest, [(3, 7)]),
        Case(custom_ops_audio.likeliest, [(5,)], name="one row"),
        Case(custom_ops_audio.likeliest, [(2, 3, 5)], name="rank 3"),
        Case(lambda x: custom_ops_audio.likeliest(x[:, 2:]), [(4, 9)], name="of a view"),
        Case(custom_ops_audio.likeliest, [(4, 6)], dynamic=({0: ("n", 1, 9)},), name="dynamic"),
    ],
)
def likeliest(b: Builder, n: NodeView) -> Value:
    """scores [..., n] -> int64 [...]."""
    return b.argmax(n.tensor("scores"))
