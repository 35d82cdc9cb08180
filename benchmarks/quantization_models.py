"""Two small models for what quantised weights cost: in `quantization.py`, and in tests/aot/test_quantization.py."""

from __future__ import annotations

import torch
from torch import nn


class Classifier(nn.Module):
    """Embedding, encoder layer with attention, and a head: the matrices of a small BERT.

    Token ids int64 [n, 16] -> float32 [n, 16, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(300, 256), nn.Embedding(16, 256)
        self.layer = nn.TransformerEncoderLayer(256, 4, 512, batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, 10)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        return self.head(self.norm(self.layer(x)))  # type: ignore[no-any-return]


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """256-512-256 with GELU, random weights that are the same each time, and an input [4, 256]."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256)).eval(), torch.randn(4, 256)


def classifier() -> tuple[nn.Module, torch.Tensor]:
    """A ``Classifier``, and an input [2, 16]."""
    torch.manual_seed(0)
    return Classifier().eval(), torch.randint(0, 300, (2, 16))
