"""The FastConformer encoder: subsampling by eight, then conformer layers.

Layers work on [T, width], without a batch: torch's products of rank 3 would want to know that T is not 1.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

from .attention import RelativeAttention, relative_positions
from .config import ParakeetConfig

__all__ = ["Encoder"]


class _Subsampling(nn.Module):
    """[1, T, mels] -> [ceil(T / subsampling), width]: convolutions over time and frequency, each of stride 2."""

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        channels, steps = config.subsampling_channels, int(math.log2(config.subsampling)) - 1
        self.first = nn.Conv2d(1, channels, 3, stride=2, padding=1)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels) for _ in range(steps)
        )
        self.pointwise = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(steps))
        self.out = nn.Linear(channels * config.reduced_mels, config.width)

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.first(features[:, None]))
        for depthwise, pointwise in zip(self.depthwise, self.pointwise, strict=True):
            x = F.relu(pointwise(depthwise(x)))
        result: Tensor = self.out(x[0].transpose(0, 1).flatten(1))
        return result


class _FeedForward(nn.Module):
    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.feed_forward, bias=config.bias)
        self.down = nn.Linear(config.feed_forward, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(F.silu(self.up(self.norm(x))))
        return result


class _Convolution(nn.Module):
    """The conformer's convolution module; its batch norm is folded into the depthwise kernel by the converter.

    Products with kernels of one frame are linear layers here, which lets their weights be quantised.
    """

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        width = config.width
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width, bias=config.bias)
        self.depthwise = nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.out = nn.Linear(width, width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.glu(self.gate(self.norm(x)), dim=-1)
        x = F.silu(self.depthwise(x.t()[None]))[0].t()
        result: Tensor = self.out(x)
        return result


class _Layer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward."""

    def __init__(self, config: ParakeetConfig) -> None:
        super().__init__()
        self.ff1, self.ff2 = _FeedForward(config), _FeedForward(config)
        self.attn_norm, self.attn = nn.LayerNorm(config.width), RelativeAttention(config)
        self.conv = _Convolution(config)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        x = x + 0.5 * self.ff1(x)
        x = x + self.attn(self.attn_norm(x), positions)
        x = x + self.conv(x)
        x = x + 0.5 * self.ff2(x)
        result: Tensor = self.norm(x)
        return result


class Encoder(nn.Module):
    """forward(features float32 [1, T, mels], normalised) -> float32 [1, ceil(T / subsampling), joint_width].

    The result has been through the joint network's projection of the encoder. T is more than subsampling (two frames of
    the encoder) and at most max_frames.
    """

    positions: Tensor

    def __init__(self, config: ParakeetConfig, max_frames: int) -> None:
        super().__init__()
        self.longest = -(-max_frames // config.subsampling)
        self.scale = math.sqrt(config.width) if config.scale_input else 1.0
        self.subsampling = _Subsampling(config)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.joint = nn.Linear(config.width, config.joint_width)
        self.register_buffer("positions", relative_positions(config.width, self.longest))

    def forward(self, features: Tensor) -> Tensor:
        x = self.subsampling(features)
        length = x.shape[0]
        positions = self.positions[self.longest - length : self.longest + length - 1]
        if self.scale != 1.0:
            x = x * self.scale
        for layer in self.layers:
            x = layer(x, positions)
        result: Tensor = self.joint(x)[None]
        return result
