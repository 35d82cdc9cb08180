"""Whole small models through the default partitioner: reference interpreter, then ggml, against eager torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import ReferenceExecutor, delegates, flatten_results

pytestmark = pytest.mark.filterwarnings("ignore")


class InvertedResidual(nn.Module):
    """MobileNetV2's block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = channels * 3
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.blocks = nn.Sequential(InvertedResidual(8), InvertedResidual(8))
        self.head = nn.Linear(8, 5)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d):  # trained statistics; the initial ones hide mistakes
                nn.init.uniform_(m.running_mean, -0.5, 0.5)
                nn.init.uniform_(m.running_var, 0.5, 2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean([2, 3]))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x, x, x, need_weights=False)[0]


class WindowAttention(nn.Module):
    """Swin's windows: permutations of rank 6."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, h, w, c = x.shape
        windows = x.view(n, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, c)
        q, k, v = self.qkv(windows).view(-1, 4, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.softmax(q * 0.5 @ k.transpose(-1, -2), dim=-1)
        y = self.out((scores @ v).transpose(1, 2).reshape(-1, 4, c))
        return y.view(n, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h, w, c)


class Recurrent(nn.Module):
    """A gated cell unrolled over a static length."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(12, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = c = x[:, 0, :4] * 0.0
        for t in range(3):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation=F.gelu)


N = Dim("n", min=1, max=12)
MODELS: list[tuple[str, Callable[[], nn.Module], tuple[int, ...], Any, float]] = [
    ("cnn", Cnn, (2, 3, 16, 16), None, 1e-9),
    ("encoder layer", encoder, (2, 5, 16), ({1: N},), 1e-6),
    ("multihead attention", Attention, (2, 5, 16), None, 1e-6),
    ("window attention", WindowAttention, (2, 4, 6, 8), None, 1e-9),
    ("recurrent", Recurrent, (2, 3, 8), None, 1e-9),
]


@pytest.mark.parametrize("name, make, shape, dynamic, tolerance", MODELS, ids=[m[0] for m in MODELS])
def test_model(
    name: str, make: Callable[[], nn.Module], shape: tuple[int, ...], dynamic: Any, tolerance: float, tmp_path: Path
) -> None:
    from executorch.exir import to_edge_transform_and_lower

    from executorch_ggml.runtime.program import Program

    torch.manual_seed(0)
    model = make().eval()
    x = torch.randn(shape)
    program = export(model, (x,), dynamic_shapes=dynamic, strict=False)
    partitioner = GgmlPartitioner()
    edge = to_edge_transform_and_lower(program, partitioner=[partitioner])
    lowered = edge.exported_program()
    assert len(delegates(lowered)) == 1, partitioner.decisions.reasons
    path = tmp_path / "model.pte"
    path.write_bytes(edge.to_executorch().buffer)
    native = Program(path, threads=1)
    for size in (1, 4, 12) if dynamic else (None,):
        real = list(shape)
        if size is not None:
            real[next(iter(dynamic[0]))] = size
        x = torch.randn(real)
        with torch.no_grad():
            (want,) = flatten_results(model(x))
        assert nmse(ReferenceExecutor(lowered)(x)[0], want) < tolerance
        assert nmse(native.execute("forward", [x])[0], want) < max(tolerance, 1e-8)
