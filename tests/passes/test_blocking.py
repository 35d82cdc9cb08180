"""Copies that need not be waited for: with one device they are plain copies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Copies(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.zeros(3))

    def forward(self, x: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.state.copy_(x, non_blocking=True)
        return (
            i.to("cpu", torch.float64, non_blocking=True),
            i.to(torch.int32, non_blocking=True),
            i.to(x, non_blocking=True),
            x.to("cpu", non_blocking=True, copy=True),
            torch.zeros(3, dtype=torch.int64).copy_(i, non_blocking=True),
            self.state * 2,
        )


@pytest.mark.parametrize("rewrites", [True, False])
def test_copies(rewrites: bool, tmp_path: Path) -> None:
    args = (torch.randn(3), torch.tensor([3, 2**40, -1]))
    edge = to_edge_rewrite_and_lower(export(Copies(), args), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for got, want in zip(run(*args), Copies()(*args), strict=True):
            torch.testing.assert_close(torch.as_tensor(got), want, rtol=0, atol=0)
