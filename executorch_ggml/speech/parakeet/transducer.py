"""Prediction network and joint network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.aot.custom_ops_audio import most_likely

from .config import ParakeetConfig

__all__ = ["Joint", "Predictor"]


class _Cell(nn.Module):
    """One LSTM layer for one step; its state is a buffer. Gates in torch's order: input, forget, cell, output."""

    h: Tensor
    c: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, 4 * width)
        self.hidden = nn.Linear(width, 4 * width, bias=False)
        self.register_buffer("h", torch.zeros(1, width))
        self.register_buffer("c", torch.zeros(1, width))

    def forward(self, x: Tensor) -> Tensor:
        into, forget, cell, out = (self.input(x) + self.hidden(self.h)).chunk(4, dim=-1)
        c = torch.sigmoid(forget) * self.c + torch.sigmoid(into) * torch.tanh(cell)
        h = torch.sigmoid(out) * torch.tanh(c)
        self.c.copy_(c)
        self.h.copy_(h)
        return h


class Predictor(nn.Module):
    """forward(token int64 [1, 1]) -> float32 [1, 1, joint_width], projected for the joint; advances the LSTM."""

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.predictor_width)
        self.cells = nn.ModuleList(_Cell(config.predictor_width) for _ in range(config.predictor_layers))
        self.joint = nn.Linear(config.predictor_width, config.joint_width)

    def forward(self, token: Tensor) -> Tensor:
        x = self.embedding(token)[0]
        for cell in self.cells:
            x = cell(x)
        result: Tensor = self.joint(x)[None]
        return result


class Joint(nn.Module):
    """forward(frames [1, n, joint_width], predicted [1, 1, joint_width]) -> tokens int64 [n], durations int64 [n].

    tokens are ids (the last one is the blank), durations are indices into the configuration's. Frames are independent
    of each other: a decoder may look ahead with one prediction.
    """

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        self.vocab = config.vocab
        self.head = nn.Linear(config.joint_width, config.vocab + len(config.durations))

    def forward(self, frames: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.head(F.relu(frames + predicted))[0]
        return most_likely(logits[:, : self.vocab]), most_likely(logits[:, self.vocab :])
