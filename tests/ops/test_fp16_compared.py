"""Comparisons and roundings of halves that were computed: ggml computes in F32, torch rounds, and these show it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Compared(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> list[torch.Tensor]:
        total = x + y
        compared = [total == z, total != z, total < z, total >= z, (x * y) == (y * x)]
        return [*compared, torch.floor(total), torch.ceil(total), torch.trunc(total), torch.round(total)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_sums_compare_as_they_are_stored(dtype: torch.dtype, tmp_path: Path) -> None:
    x, y = (torch.randn(200, generator=torch.Generator().manual_seed(n)).mul(40).to(dtype) for n in (0, 1))
    z = x + y
    assert not torch.equal(x.float() + y.float(), z.float())
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Compared(), (x, y, z))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for got, want in zip(program(x, y, z), Compared()(x, y, z), strict=True):
            assert torch.equal(torch.as_tensor(got), want)
