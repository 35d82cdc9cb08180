"""Plain PyTorch: an MLP, a CNN, a U-Net, recurrent models."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .model import Inputs, ZooModel


def _mlp(tiny: bool) -> nn.Module:
    wide = 32 if tiny else 512
    return nn.Sequential(
        nn.Linear(24, wide), nn.LeakyReLU(), nn.LayerNorm(wide), nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, 10)
    )


class _Cnn(nn.Module):
    """Grouped, dilated, depthwise and plain convolutions, batch norm, both poolings, a head."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, c, 5, stride=2, padding=2),
            nn.BatchNorm2d(c),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=2, dilation=2, groups=4, bias=False),
            nn.BatchNorm2d(c),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(c, c, (3, 1), padding=(1, 0), groups=c),
            nn.ELU(),
            nn.AvgPool2d(3, stride=2, padding=1),
            nn.Conv2d(c, 2 * c, 1),
        )
        self.head = nn.Linear(2 * c, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.features(image)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1)).log_softmax(-1)


class _Block(nn.Module):
    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.body(x)
        return y


class _UNet(nn.Module):
    """Two levels down, one up by a transposed convolution, one by interpolation."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.a, self.b, self.middle = _Block(3, c), _Block(c, 2 * c), _Block(2 * c, 4 * c)
        self.up = nn.ConvTranspose2d(4 * c, 2 * c, 2, stride=2)
        self.d, self.e = _Block(4 * c, 2 * c), _Block(3 * c, c)
        self.out = nn.Conv2d(c, 2, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        a = self.a(image)
        b = self.b(F.max_pool2d(a, 2))
        x = self.middle(F.max_pool2d(b, 2))
        x = self.d(torch.cat([self.up(x), b], 1))
        x = self.e(torch.cat([F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False), a], 1))
        y: torch.Tensor = self.out(x)
        return y


class _Recurrent(nn.Module):
    """x [N, T, 16] -> [N, 5], from the last step."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU], hidden: int, both: bool) -> None:
        super().__init__()
        self.rnn = kind(16, hidden, num_layers=2, batch_first=True, bidirectional=both)
        self.head = nn.Linear(hidden * (2 if both else 1), 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(x)
        out: torch.Tensor = self.head(y[:, -1])
        return out


def _images(tiny: bool, second: bool) -> Inputs:
    a, b = ((32, 32), (48, 64))[second]
    return (torch.randn(1 + second, 3, a if tiny else 4 * a, b if tiny else 4 * b),)


def _steps(tiny: bool, second: bool) -> Inputs:
    return (torch.randn(1 + second, ((6, 9) if tiny else (32, 48))[second], 16),)


MODELS = [
    ZooModel(
        "mlp",
        _mlp,
        lambda tiny, second: (torch.randn(5 if second else 2, 24),),
        lambda tiny: ({0: torch.export.Dim("n", min=1, max=16)},),
    ),
    ZooModel("cnn", lambda tiny: _Cnn(8 if tiny else 64), _images),
    ZooModel("unet", lambda tiny: _UNet(8 if tiny else 32), _images),
    ZooModel("lstm", lambda tiny: _Recurrent(nn.LSTM, 12 if tiny else 128, False), _steps),
    ZooModel("gru", lambda tiny: _Recurrent(nn.GRU, 12 if tiny else 128, True), _steps),
]
