"""Rows of a cache, to be written back elsewhere in it."""

from __future__ import annotations

import torch

from executorch_ggml.aot import custom_ops_audio
from executorch_ggml.aot.registry import Arg, Builder, Case, NodeView, Value, register
from executorch_ggml.ir.dims import product


class _Shift(torch.nn.Module):
    """A cache that is written, attended to and compacted."""

    k: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("k", torch.zeros(1, 6, 2, 4))

    def forward(self, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        self.k.index_copy_(1, torch.arange(6), x.round())  # whole numbers: exact in an fp16 cache, too
        taken = custom_ops_audio.take_rows(self.k, keep)
        self.k.index_copy_(1, torch.arange(keep.shape[0]), taken)
        result: torch.Tensor = taken * 2.0
        return result


@register(
    torch.ops.executorch_ggml.take_rows.default,
    cases=lambda: [
        Case(custom_ops_audio.take_rows, [(1, 6, 2, 4), Arg((3,), torch.int64, 0, 5)]),
        Case(
            custom_ops_audio.take_rows,
            [(1, 6, 2, 4), Arg((3,), torch.int64, 0, 5)],
            dynamic=({}, {0: ("n", 1, 9)}),
            name="dynamic",
        ),
        Case(_Shift(), [(1, 6, 2, 4), Arg((3,), torch.int64, 0, 5)], name="moved to the front"),
    ],
)
def take_rows(b: Builder, n: NodeView) -> Value:
    """cache [1, S, H, D] of any storage type, rows [n] -> F32 [1, n, H, D]."""
    n.require_float()
    cache, rows = n.tensor("cache"), n.tensor("rows")
    size = product(cache.shape[2:])
    taken = b.get_rows(b.reshape(b.decided(cache), (cache.shape[1], size)), rows)
    return b.reshape(taken, (1, rows.shape[0], *cache.shape[2:]))
