"""diagonal_scatter, for which nobody has a kernel, as a choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(torch.nn.Module):
    """Several at once: an export costs more than they do."""

    def forward(self, x: torch.Tensor, y: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one = torch.diagonal_scatter(x, y[0, 0, :4] * 2, 0)
        right = torch.diagonal_scatter(x, y[0, 0, :4], 1)
        down = torch.diagonal_scatter(x, y[0, 0, :2], -2)
        batch = torch.diagonal_scatter(y, y[:, 0, :4] + 1, 0, dim1=1, dim2=2)
        swapped = torch.diagonal_scatter(y, y[:, 0, :4], -1, dim1=2, dim2=1)
        whole = torch.diagonal_scatter(i, i[0, :4] * 3)
        return one, right, down, batch, swapped, whole


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    args: tuple[Any, ...] = (
        torch.randn(4, 6, dtype=dtype),
        torch.randn(3, 4, 6, dtype=dtype),
        torch.randint(-(2**40), 2**40, (4, 4)),
    )
    args[0][0, 0] = float("inf")  # what is not chosen leaves no trace
    edge = to_edge_rewrite_and_lower(export(Net(), args))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for got, want in zip(run(*args), Net()(*args), strict=True):
            torch.testing.assert_close(torch.as_tensor(got), want)
