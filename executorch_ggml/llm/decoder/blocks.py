"""The parts of a decoder. Attribute names spell the names of the GGUF's tensors: `blk.0.attn_q.weight` and so on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.aot.custom_ops import causal_attention, moe_topk, mul_mat_id, rope

from .config import ModelConfig, RopeConfig

__all__ = ["Block", "Linear", "Norm", "Weight"]

# The smallest normal F16: llama.cpp's lower bound for the sum of the chosen experts' weights before it divides.
_MIN_WEIGHT_SUM = 2.0**-14


class Weight(nn.Module):
    """A parameter named `<name>.weight` with no operator of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)


class Norm(Weight):
    """RMSNorm over the last dimension: x / sqrt(mean(x^2) + eps) * weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__(size)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Linear(Weight):
    """x @ weight.T (+ bias). weight: [rows, columns], as in the GGUF."""

    def __init__(self, columns: int, rows: int, bias: bool) -> None:
        super().__init__(rows, columns)
        self.bias = nn.Parameter(torch.empty(rows), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def _rotate(x: Tensor, positions: Tensor, config: RopeConfig, factors: Tensor | None) -> Tensor:
    rotated: Tensor = rope(
        x, positions, factors, config.dims, config.mode, config.base, config.scale, config.ext_factor,
        config.attn_factor, config.beta_fast, config.beta_slow, config.original_context,
    )  # fmt: skip
    return rotated


class Block(nn.Module):
    """One decoder layer with its part of the KV cache.

    present: names of the GGUF's tensors, which decide on biases and on fused projections.
    last_only: the output is computed for the last position alone; keys and values are written for all.
    """

    k_cache: Tensor
    v_cache: Tensor

    def __init__(self, config: ModelConfig, index: int, present: frozenset[str], last_only: bool) -> None:
        super().__init__()
        c, arch = config, config.architecture
        self.config, self.last_only = c, last_only
        self.rope, self.window = c.rope[index], c.window[index]
        prefix = f"blk.{index}."

        def has(name: str) -> bool:
            return prefix + name in present

        def linear(name: str, columns: int, rows: int) -> None:
            self.add_module(name, Linear(columns, rows, bias=has(f"{name}.bias")))

        self.attn_norm = Norm(c.width, c.eps)
        q_rows, kv_rows = c.heads * c.head_dim, c.kv_heads * c.head_dim
        self.fused_qkv = has("attn_qkv.weight")
        if self.fused_qkv:
            linear("attn_qkv", c.width, q_rows + 2 * kv_rows)
        else:
            linear("attn_q", c.width, q_rows)
            linear("attn_k", c.width, kv_rows)
            linear("attn_v", c.width, kv_rows)
        if arch.qk_norm:
            self.attn_q_norm = Norm(c.head_dim, c.eps)
            self.attn_k_norm = Norm(c.head_dim, c.eps)
        linear("attn_output", q_rows, c.width)
        self.ffn_norm = Norm(c.width, c.eps)
        if arch.post_norms:
            self.post_attention_norm = Norm(c.width, c.eps)
            self.post_ffw_norm = Norm(c.width, c.eps)
        # A dense feed-forward block without a gate of its own has it in the first half of ffn_up.
        self.fused_gate = not c.experts and not has("ffn_gate.weight")
        if c.experts:
            self.ffn_gate_inp = Linear(c.width, c.experts, bias=False)
            self.ffn_gate_exps = Weight(c.experts, c.expert_ff, c.width)
            self.ffn_up_exps = Weight(c.experts, c.expert_ff, c.width)
            self.ffn_down_exps = Weight(c.experts, c.width, c.expert_ff)
        else:
            if not self.fused_gate:
                linear("ffn_gate", c.width, c.ff)
            linear("ffn_up", c.width, 2 * c.ff if self.fused_gate else c.ff)
            linear("ffn_down", c.ff, c.width)
        cache = (1, c.max_seq_len, c.kv_heads, c.head_dim)
        self.register_buffer("k_cache", torch.zeros(cache))
        self.register_buffer("v_cache", torch.zeros(cache))

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

    def _attention(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        q, k, v = self._qkv(x)
        if self.config.architecture.qk_norm:
            q, k = self.attn_q_norm(q), self.attn_k_norm(k)
        q_positions = positions[-1:] if self.last_only else positions
        if self.rope is not None:
            q = _rotate(q, q_positions, self.rope, factors if self.rope.factors else None)
            k = _rotate(k, positions, self.rope, factors if self.rope.factors else None)
        self.k_cache.index_copy_(1, positions, k)
        self.v_cache.index_copy_(1, positions, v)
        scale = self.config.attention_scale
        mixed: Tensor = causal_attention(q, self.k_cache, self.v_cache, q_positions, scale, self.window, 0.0)
        output: Tensor = self.attn_output(mixed.flatten(-2))
        return output

    def _activate(self, gate: Tensor, up: Tensor) -> Tensor:
        if self.config.architecture.activation == "gelu":
            return F.gelu(gate, approximate="tanh") * up
        return F.silu(gate) * up

    def _dense(self, x: Tensor) -> Tensor:
        if self.fused_gate:
            gate, up = self.ffn_up(x).chunk(2, dim=-1)
        else:
            gate, up = self.ffn_gate(x), self.ffn_up(x)
        output: Tensor = self.ffn_down(self._activate(gate, up))
        return output

    def _mixture(self, x: Tensor) -> Tensor:
        """The experts_used experts with the largest softmax score, mixed with those scores scaled to sum 1."""
        rows = x.flatten(0, 1)
        scores = self.ffn_gate_inp(rows).softmax(dim=-1)
        weights, ids = moe_topk(scores, self.config.experts_used)
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=_MIN_WEIGHT_SUM)
        shared = rows.unsqueeze(1)
        gate = mul_mat_id(self.ffn_gate_exps.weight, shared, ids)
        up = mul_mat_id(self.ffn_up_exps.weight, shared, ids)
        outputs = mul_mat_id(self.ffn_down_exps.weight, self._activate(gate, up), ids) * weights.unsqueeze(-1)
        # Sum over the experts as additions of slices: ggml sums along its fastest dimension only.
        total = outputs[:, 0]
        for i in range(1, self.config.experts_used):
            total = total + outputs[:, i]
        return torch.unsqueeze(total, 0)

    def forward(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        """x: [1, T, width], positions: int64 [T] -> [1, T, width], or [1, 1, width] when last_only."""
        mixed = self._attention(self.attn_norm(x), positions, factors)
        if self.last_only:
            x = x[:, -1:]
        post_norms = self.config.architecture.post_norms
        x = x + (self.post_attention_norm(mixed) if post_norms else mixed)
        normed = self.ffn_norm(x)
        fed = self._mixture(normed) if self.config.experts else self._dense(normed)
        return x + (self.post_ffw_norm(fed) if post_norms else fed)

    def __getattr__(self, name: str) -> Any:
        # Typed as Any: which projections exist depends on the file (nn.Module types attributes as Tensor | Module).
        return super().__getattr__(name)
