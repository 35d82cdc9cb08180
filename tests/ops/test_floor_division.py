"""Floats divided and rounded down: whole numbers, which ExecuTorch's kernel does not give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Floored(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        numbers = [x // 0.3, x // -7, 2.5 // y, x // 0.0, x // float("inf"), x // y[3], torch.tensor(7.0) // y]
        return [x // y, torch.div(x, y, rounding_mode="floor"), x.double() // y.double(), *numbers]


def test_as_torch(tmp_path: Path) -> None:
    inf = float("inf")
    special = torch.tensor([0.0, 1, -1, inf, -inf, float("nan"), 6e4, -3, 1e-7, 0.1, 2.5, 3e38])
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(5000, generator=generator) * 2000, special.repeat_interleave(12)])
    y = torch.cat([torch.randn(5000, generator=generator), special.repeat(12)])
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Floored(), (x, y))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for got, want in zip(program(x, y), Floored()(x, y), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
