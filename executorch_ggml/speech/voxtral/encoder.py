"""Log-mel, the causal audio encoder and the adapter that makes decoder inputs of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.speech.mel_power import MelPower

from .config import VoxtralConfig
from .layers import Attention, FeedForward, Norm

__all__ = ["Encoder", "LogMel"]


class LogMel(MelPower):
    """forward(samples float32 [1, hop * T + window - hop]) -> float32 [1, mels, T].

    The floor is relative to a fixed loudness, so a frame depends on nothing but its own samples.
    """

    def __init__(self, config: VoxtralConfig) -> None:
        c = config
        super().__init__(c.mels, c.sample_rate, hop=c.hop, n_fft=c.window, window=c.window, periodic=True)
        self.floor = c.log_mel_max - 8.0

    def forward(self, samples: Tensor) -> Tensor:
        mel = super().forward(samples).clamp(min=1e-10).log10().clamp(min=self.floor)
        return ((mel + 4.0) / 4.0).transpose(1, 2)


class _Layer(nn.Module):
    def __init__(self, config: VoxtralConfig, cache_rows: int) -> None:
        super().__init__()
        c = config.encoder
        self.attn_norm, self.ffn_norm = Norm(c.width, c.eps), Norm(c.width, c.eps)
        self.attn = Attention(c, cache_rows, bias=True, halves=config.rope_halves)
        self.ffn = FeedForward(c, bias=True)

    def forward(self, x: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x), positions, rows)
        result: Tensor = x + self.ffn(self.ffn_norm(x))
        return result


class Encoder(nn.Module):
    """forward(mel float32 [1, mels, 8 n], positions int64 [4 n], rows int64 [4 n]) -> float32 [1, n, decoder width].

    Convolutions are causal: their past frames are kept in buffers, as keys and values are. A recording may come
    in pieces of any n, with one and the same result.
    """

    tail1: Tensor
    tail2: Tensor

    def __init__(self, config: VoxtralConfig, cache_rows: int) -> None:
        super().__init__()
        width, out = config.encoder.width, config.decoder.width
        self.downsample = config.downsample
        self.conv1 = nn.Conv1d(config.mels, width, 3)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2)
        # A kernel of three reaches back by two frames, or by one where it steps by two.
        self.register_buffer("tail1", torch.zeros(1, config.mels, 2))
        self.register_buffer("tail2", torch.zeros(1, width, 1))
        self.layers = nn.ModuleList(_Layer(config, cache_rows) for _ in range(config.encoder.layers))
        self.norm = Norm(width, config.encoder.eps)
        self.adapter_in = nn.Linear(width * config.downsample, out, bias=False)
        self.adapter_out = nn.Linear(out, out, bias=False)

    def forward(self, mel: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        first = F.gelu(self.conv1(torch.cat((self.tail1, mel), dim=2)))
        second = F.gelu(self.conv2(torch.cat((self.tail2, first), dim=2)))
        self.tail1.copy_(mel[:, :, -2:])
        self.tail2.copy_(first[:, :, -1:])
        x = second[0].t()
        for layer in self.layers:
            x = layer(x, positions, rows)
        # The size of an input, not of x: sizes are known before the delegate is called.
        pieces = positions.shape[0] // self.downsample
        x = self.norm(x).reshape(pieces, self.downsample * x.shape[1])
        result: Tensor = self.adapter_out(F.gelu(self.adapter_in(x)))[None]
        return result
