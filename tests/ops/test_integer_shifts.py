"""Shifts by a tensor, whatever the distances."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Shifts(nn.Module):
    def forward(self, x: torch.Tensor, by: torch.Tensor) -> list[torch.Tensor]:
        return [x << by, x >> by, torch.bitwise_left_shift(x.flip(0), by), torch.bitwise_right_shift(x.flip(0), by)]


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_shifts_by_a_tensor(dtype: torch.dtype, tmp_path: Path) -> None:
    info = torch.iinfo(dtype)
    x = torch.tensor([info.min, info.max, 1, 3, 100, 7, 5]).to(dtype)
    distances = [0, 1, info.bits - 1, info.bits, info.bits + 1, 100, 2 if dtype is torch.uint8 else -1]
    by = torch.tensor(distances).to(dtype)
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Shifts(), (x, by))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for got, want in zip(program(x, by), Shifts()(x, by), strict=True):
            assert got.dtype == dtype
            assert torch.equal(got, want)
