"""The log-mel spectrogram as a module, so that it runs where the encoder runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.speech.mel import fourier_basis, mel_filters
from executorch_ggml.speech.parakeet.config import ParakeetConfig

__all__ = ["LogMel"]

# What NeMo adds before the logarithm.
_GUARD = 2.0**-24


class LogMel(nn.Module):
    """forward(samples float32 [1, hop * T + window - hop]) -> float32 [1, T, mels], not normalised.

    Samples have been through preemphasis. Frame t is centred on sample t * hop + window / 2 of the input: whoever wants
    it centred on sample t * hop of a recording puts window / 2 samples before that.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        self.hop = config.hop
        basis = fourier_basis(config.n_fft, config.window, periodic=False)
        filters = mel_filters(config.mels, config.n_fft, config.sample_rate)
        # Computed, never loaded: real data also where everything else is on the meta device.
        self.register_buffer("basis", torch.tensor(basis, dtype=torch.float32, device="cpu")[:, None])
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32, device="cpu"))

    def forward(self, samples: Tensor) -> Tensor:
        spectrum = F.conv1d(samples[:, None], self.basis, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = (real * real + imaginary * imaginary).transpose(1, 2)
        return torch.log(F.linear(power, self.filters) + _GUARD)
