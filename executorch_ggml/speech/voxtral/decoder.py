"""The text decoder, conditioned on the delay of the text behind the audio."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import VoxtralConfig
from .layers import Attention, FeedForward, Norm

__all__ = ["Decoder", "delay_embedding", "delay_scale"]


def delay_embedding(delay_tokens: float, width: int) -> Tensor:
    """Sinusoids of the delay: float32 [width], cosines first."""
    frequency = torch.exp(-math.log(10000.0) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angles = delay_tokens * frequency
    return torch.cat((angles.cos(), angles.sin()))


def delay_scale(delay_tokens: float, narrow: Tensor, wide: Tensor) -> Tensor:
    """The factor of a layer's feed-forward input: float32 [width].

    narrow [condition_width, width] and wide [width, condition_width] are the layer's conditioning network. The delay is
    fixed for a stream, so the scale goes into the weights of the norm before it when they are converted.
    """
    condition = F.linear(delay_embedding(delay_tokens, narrow.shape[1]), narrow.float())
    return 1.0 + F.linear(F.gelu(condition), wide.float())


class _Layer(nn.Module):
    """`ffn_norm` has the delay in its weights (`delay_scale`)."""

    def __init__(self, config: VoxtralConfig, cache_rows: int) -> None:
        super().__init__()
        c = config.decoder
        self.attn_norm, self.ffn_norm = Norm(c.width, c.eps), Norm(c.width, c.eps)
        self.attn = Attention(c, cache_rows, bias=False, halves=config.rope_halves)
        self.ffn = FeedForward(c, bias=False)

    def forward(self, x: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        x = x + self.attn(self.attn_norm(x), positions, rows)
        result: Tensor = x + self.ffn(self.ffn_norm(x))
        return result


class Decoder(nn.Module):
    """forward(audio [1, T, width], tokens int64 [1, T], positions int64 [T], rows int64 [T]) -> logits [1, 1, vocab].

    The input of each position is the sum of the audio there and the embedding of the token before; the logits are those
    of the last position. The head is the embedding.
    """

    def __init__(self, config: VoxtralConfig, cache_rows: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocab, config.decoder.width)
        self.layers = nn.ModuleList(_Layer(config, cache_rows) for _ in range(config.decoder.layers))
        self.norm = Norm(config.decoder.width, config.decoder.eps)

    def forward(self, audio: Tensor, tokens: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        x = audio[0] + self.embedding(tokens)[0]
        for layer in self.layers:
            x = layer(x, positions, rows)
        return F.linear(self.norm(x[-1:]), self.embedding.weight)[None]
