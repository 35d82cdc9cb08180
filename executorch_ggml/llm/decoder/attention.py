"""The default block: attention over a KV cache, with grouped heads, RoPE and a gated feed-forward part."""

from __future__ import annotations

import torch
from torch import Tensor

from executorch_ggml.aot.custom_ops import causal_attention

from .block import Block, Place
from .layers import Norm, rotate

__all__ = ["AttentionBlock"]


class AttentionBlock(Block):
    """One layer with its KV cache: `k_cache` and `v_cache` [1, max_seq_len, kv_heads, head_dim]."""

    k_cache: Tensor
    v_cache: Tensor

    def add_mixer(self, place: Place) -> None:
        c = self.config
        self.rope, self.window = c.rope[place.index], c.window[place.index]
        q_rows, kv_rows = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.fused_qkv = place.has("attn_qkv.weight")
        if self.fused_qkv:
            self.add_linear(place, "attn_qkv", c.width, q_rows + 2 * kv_rows)
        else:
            self.add_linear(place, "attn_q", c.width, q_rows)
            self.add_linear(place, "attn_k", c.width, kv_rows)
            self.add_linear(place, "attn_v", c.width, kv_rows)
        if c.qk_norm:
            self.attn_q_norm = Norm(c.head_dim, c.eps)
            self.attn_k_norm = Norm(c.head_dim, c.eps)
        self.add_linear(place, "attn_output", q_rows, c.width)
        self.add_rows("k_cache", c.kv_heads, c.head_dim)
        self.add_rows("v_cache", c.kv_heads, c.head_dim)

    def _heads(self, x: Tensor) -> Tensor:
        """[1, T, H * D] -> [1, T, H, D]"""
        return torch.unflatten(x, -1, (-1, self.config.head_dim))

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Projections of x [1, T, width] as heads; q for the last position only when the output is."""
        if self.fused_qkv:
            c = self.config
            q_rows, kv_rows = c.heads * c.head_dim, c.kv_heads * c.head_dim
            q, k, v = self.attn_qkv(x).split((q_rows, kv_rows, kv_rows), dim=-1)
            if self.last_only:
                q = q[:, -1:]
        else:
            q = self.attn_q(x[:, -1:] if self.last_only else x)
            k, v = self.attn_k(x), self.attn_v(x)
        return self._heads(q), self._heads(k), self._heads(v)

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        q, k, v = self._qkv(x)
        if self.config.qk_norm:
            q, k = self.attn_q_norm(q), self.attn_k_norm(k)
        q_positions = positions[-1:] if self.last_only else positions
        if self.rope is not None:
            q = rotate(q, q_positions, self.rope, factors)
            k = rotate(k, positions, self.rope, factors)
        self.k_cache.index_copy_(1, positions, k)
        self.v_cache.index_copy_(1, positions, v)
        scale = self.config.attention_scale
        mixed: Tensor = causal_attention(q, self.k_cache, self.v_cache, q_positions, scale, self.window, 0.0)
        output: Tensor = self.attn_output(mixed.flatten(-2))
        return output
