"""The log-mel spectrogram."""

from __future__ import annotations

import torch
from torch import Tensor

from executorch_ggml.speech.mel_power import MelPower

from .config import ParakeetConfig

__all__ = ["LogMel"]

# NeMo adds this before the logarithm.
_GUARD = 2.0**-24


class LogMel(MelPower):
    """forward(samples float32 [1, hop * T + window - hop]) -> float32 [1, T, mels], not normalised.

    Samples have been through preemphasis.
    """

    def __init__(self, config: ParakeetConfig) -> None:
        c = config
        super().__init__(c.mels, c.sample_rate, hop=c.hop, n_fft=c.n_fft, window=c.window, periodic=False)

    def forward(self, samples: Tensor) -> Tensor:
        return torch.log(super().forward(samples) + _GUARD)
