"""The layers of both transformers: attention over a cache that slides, and a gated feed-forward.

Activations are [T, width], without a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.aot.custom_ops import ROPE_NEOX, ROPE_NORM, causal_attention, rope

from .config import TransformerConfig

__all__ = ["Attention", "FeedForward", "Norm"]


class Norm(nn.Module):
    """Root mean square norm of the last dimension."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """forward(x [T, width], positions int64 [T], rows int64 [T]) -> [T, width].

    Keys and values go to `rows` of the caches [1, cache_rows, kv_heads, head_dim], rotated by `positions`. Both count
    up by one; rows are set back when the caches are compacted, positions never are.
    """

    k_cache: Tensor
    v_cache: Tensor

    def __init__(self, config: TransformerConfig, cache_rows: int, *, bias: bool, halves: bool) -> None:
        super().__init__()
        self.config, self.mode = config, ROPE_NEOX if halves else ROPE_NORM
        inner, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q = nn.Linear(config.width, inner, bias=bias)
        self.k = nn.Linear(config.width, keys, bias=False)
        self.v = nn.Linear(config.width, keys, bias=bias)
        self.o = nn.Linear(inner, config.width, bias=bias)
        for name in ("k_cache", "v_cache"):
            self.register_buffer(name, torch.zeros(1, cache_rows, config.kv_heads, config.head_dim))

    def _rope(self, x: Tensor, positions: Tensor) -> Tensor:
        size, base = self.config.head_dim, self.config.rope_base
        rotated: Tensor = rope(x, positions, None, size, self.mode, base, 1.0, 0.0, 1.0, 32.0, 1.0, 0)
        return rotated

    def forward(self, x: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        c = self.config
        query = self.q(x).reshape(1, x.shape[0], c.heads, c.head_dim)
        key = self.k(x).reshape(1, x.shape[0], c.kv_heads, c.head_dim)
        value = self.v(x).reshape(1, x.shape[0], c.kv_heads, c.head_dim)
        self.k_cache.index_copy_(1, rows, self._rope(key, positions))
        self.v_cache.index_copy_(1, rows, value)
        mixed = causal_attention(
            self._rope(query, positions), self.k_cache, self.v_cache, rows, c.head_dim**-0.5, c.window, 0.0
        )
        result: Tensor = self.o(mixed[0].flatten(1))
        return result


class FeedForward(nn.Module):
    """down(silu(gate(x)) * up(x)); only `down` has a bias, if any has."""

    def __init__(self, config: TransformerConfig, *, bias: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.feed_forward, bias=False)
        self.up = nn.Linear(config.width, config.feed_forward, bias=False)
        self.down = nn.Linear(config.feed_forward, config.width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return result
