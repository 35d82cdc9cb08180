"""The mel spectrogram as a module, so that it runs where the encoder runs. Each model adds its own steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mel import fourier_basis, mel_filters

__all__ = ["MelPower"]


class MelPower(nn.Module):
    """forward(samples float32 [1, hop * T + window - hop]) -> power float32 [1, T, mels].

    Frame t is centred on sample t * hop + window / 2 of the input: to centre it on sample t * hop of a recording, put
    window / 2 samples before that.
    """

    basis: Tensor
    filters: Tensor

    def __init__(self, mels: int, sample_rate: int, *, hop: int, n_fft: int, window: int, periodic: bool) -> None:
        super().__init__()
        self.hop = hop
        # Computed, never loaded: real data also where everything else is on the meta device.
        basis = torch.tensor(fourier_basis(n_fft, window, periodic=periodic), dtype=torch.float32, device="cpu")
        filters = torch.tensor(mel_filters(mels, n_fft, sample_rate), dtype=torch.float32, device="cpu")
        self.register_buffer("basis", basis[:, None])
        self.register_buffer("filters", filters)

    def forward(self, samples: Tensor) -> Tensor:
        spectrum = F.conv1d(samples[:, None], self.basis, stride=self.hop)
        real, imaginary = spectrum.chunk(2, dim=1)
        power = (real * real + imaginary * imaginary).transpose(1, 2)
        return F.linear(power, self.filters)
