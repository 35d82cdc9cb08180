"""The smallest parts of a decoder. Attribute names spell the names of the GGUF's tensors: `<name>.weight`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.aot.custom_ops import rope

from .config import RopeConfig

__all__ = ["Linear", "Norm", "Weight", "rotate"]


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

    def __init__(self, columns: int, rows: int, bias: bool = False) -> None:
        super().__init__(rows, columns)
        self.bias = nn.Parameter(torch.empty(rows), requires_grad=False) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


def rotate(x: Tensor, positions: Tensor, config: RopeConfig, factors: Tensor | None) -> Tensor:
    """RoPE of heads [1, T, H, D]. factors: the file's tensor of frequency divisors, used where `config` names one."""
    rotated: Tensor = rope(
        x, positions, factors if config.factors else None, config.dims, config.mode, config.base, config.scale,
        config.ext_factor, config.attn_factor, config.beta_fast, config.beta_slow, config.original_context,
    )  # fmt: skip
    return rotated
