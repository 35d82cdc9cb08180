"""The bundled model as a plain, differentiable torch module: the Qwen3 architecture, parameters named as in GGUF."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Size:
    """Every row length is a multiple of 256, so that each of ggml's K-quants can hold the model."""

    vocabulary: int = 2048
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 512
    context: int = 512
    theta: float = 10000.0
    eps: float = 1e-6


class Block(nn.Module):
    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.size, self.dropout = size, dropout
        self.attn_norm = nn.RMSNorm(size.width, size.eps)
        self.attn_q = nn.Linear(size.width, size.heads * size.head_dim, bias=False)
        self.attn_k = nn.Linear(size.width, size.kv_heads * size.head_dim, bias=False)
        self.attn_v = nn.Linear(size.width, size.kv_heads * size.head_dim, bias=False)
        self.attn_q_norm = nn.RMSNorm(size.head_dim, size.eps)
        self.attn_k_norm = nn.RMSNorm(size.head_dim, size.eps)
        self.attn_output = nn.Linear(size.heads * size.head_dim, size.width, bias=False)
        self.ffn_norm = nn.RMSNorm(size.width, size.eps)
        self.ffn_gate = nn.Linear(size.width, size.ffn, bias=False)
        self.ffn_up = nn.Linear(size.width, size.ffn, bias=False)
        self.ffn_down = nn.Linear(size.ffn, size.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        h = self.attn_norm(x)
        q = self.attn_q_norm(self.attn_q(h).view(batch, length, self.size.heads, -1)).transpose(1, 2)
        k = self.attn_k_norm(self.attn_k(h).view(batch, length, self.size.kv_heads, -1)).transpose(1, 2)
        v = self.attn_v(h).view(batch, length, self.size.kv_heads, -1).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        h = self.attn_output(h.transpose(1, 2).reshape(batch, length, -1))
        x = x + F.dropout(h, self.dropout, self.training)
        h = self.ffn_norm(x)
        h = self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + F.dropout(h, self.dropout, self.training)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)


class Network(nn.Module):
    def __init__(self, size: Size, dropout: float = 0.0) -> None:
        super().__init__()
        self.size, self.dropout = size, dropout
        self.token_embd = nn.Embedding(size.vocabulary, size.width)
        self.blk = nn.ModuleList(Block(size, dropout) for _ in range(size.layers))
        self.output_norm = nn.RMSNorm(size.width, size.eps)
        frequency = size.theta ** (-torch.arange(0, size.head_dim, 2, dtype=torch.float64) / size.head_dim)
        angle = torch.outer(torch.arange(size.context, dtype=torch.float64), frequency)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                into_residual = "output" in name or "down" in name
                nn.init.normal_(parameter, std=0.02 / (2 * size.layers) ** 0.5 if into_residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 [batch, length] -> logits [batch, length, vocabulary]."""
        length = tokens.shape[1]
        x = F.dropout(self.token_embd(tokens), self.dropout, self.training)
        for block in self.blk:
            x = block(x, self.cos[:length], self.sin[:length])
        return F.linear(self.output_norm(x), self.token_embd.weight)
