"""Self-attention with relative positions (Transformer-XL's, with per-head biases of content and position)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from executorch_ggml.aot.custom_ops_audio import relative_shift

from .config import ParakeetConfig

__all__ = ["RelativeAttention", "relative_positions"]


def relative_positions(width: int, longest: int) -> Tensor:
    """Sinusoids of the distances longest - 1 ... -(longest - 1): float32 [2 * longest - 1, width]."""
    distance = torch.arange(longest - 1, -longest, -1, dtype=torch.float32, device="cpu")
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32, device="cpu") / width)
    angles = distance[:, None] * frequency
    return torch.stack((angles.sin(), angles.cos()), dim=-1).reshape(2 * longest - 1, width)


class RelativeAttention(nn.Module):
    """forward(x [T, width], positions [2T - 1, width]) -> [T, width]."""

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        width, self.heads, self.head_dim = config.width, config.heads, config.width // config.heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=config.bias) for _ in range(4))
        self.pos = nn.Linear(width, width, bias=False)
        self.bias_u = nn.Parameter(torch.zeros(self.heads, self.head_dim))
        self.bias_v = nn.Parameter(torch.zeros(self.heads, self.head_dim))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.heads, self.head_dim)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        query, key, value = (self._split(layer(x)) for layer in (self.q, self.k, self.v))
        distance = self._split(self.pos(positions))
        content = (query + self.bias_u).transpose(0, 1) @ key.permute(1, 2, 0)
        position = relative_shift((query + self.bias_v).transpose(0, 1) @ distance.permute(1, 2, 0))
        weights = ((content + position) * self.head_dim**-0.5).softmax(dim=-1)
        mixed = (weights @ value.transpose(0, 1)).transpose(0, 1)
        result: Tensor = self.o(mixed.flatten(1))
        return result
