"""Reductions over dimension 0 of a tensor without dimensions, which torch takes for one of one entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

FUNCTIONS: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda x: x.sum(0),
    lambda x: x.mean(-1, keepdim=True),
    lambda x: x.amax(0),
    lambda x: x.amin(-1),
    lambda x: torch.aminmax(x, dim=0).min,
    lambda x: x.var(0, correction=0),
    lambda x: x.std(0, correction=0),
    lambda x: x.argmax(0),
    lambda x: x.logsumexp(0),
    lambda x: x.any(0),
    lambda x: x.all(-1),
    lambda x: x.count_nonzero(0),
    lambda x: torch.linalg.vector_norm(x, dim=0),
    lambda x: F.normalize(x, dim=0),
    lambda x: F.cosine_similarity(x, x - 3, 0),
]


class Calls(nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in FUNCTIONS]


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_sums_outside_ggml(dtype: torch.dtype, tmp_path: Path) -> None:
    class Sums(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.sum(0), x.sum()

    x = torch.tensor(2**40 + 1, dtype=dtype)
    edge = to_edge_rewrite_and_lower(export(Sums(), (x,)))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        assert [torch.as_tensor(got).tolist() for got in run(x)] == [x.item(), x.item()]


def test_reductions(tmp_path: Path) -> None:
    edge = to_edge_rewrite_and_lower(export(Calls(), (torch.tensor(-1.5),)))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for x in (torch.tensor(-1.5), torch.tensor(float("nan")), torch.tensor(0.0)):
            for got, want in zip(run(x), Calls()(x), strict=True):
                torch.testing.assert_close(torch.as_tensor(got), want, equal_nan=True)
