"""Products with a matrix chosen per row."""

from __future__ import annotations

import torch
from graph_checks import assert_same, assert_unchanged, count, functional
from torch.export import Dim

from executorch_ggml.aot.passes import fuse_experts

FUSED = "executorch_ggml.mul_mat_id.default"


class Experts(torch.nn.Module):
    """x [S, K], ids [S] -> [S, N]: row i times matrix ids[i]."""

    def __init__(self, column: int = -1, dim: int = -1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.weights = torch.nn.Parameter(torch.randn(4, 6, 8))
        self.column, self.dim = column, dim

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        product = torch.bmm(self.weights[ids], x.unsqueeze(self.column))
        return product.squeeze(self.dim) if self.dim is not None else product.sum(-1)


def arguments(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, 8), torch.randint(0, 4, (rows,))


def test_fires() -> None:
    rows = {0: Dim("s", min=1, max=12)}
    ep = functional(Experts(), arguments(5), (rows, rows))
    assert fuse_experts(ep)
    assert count(ep)[FUSED] == 1
    assert not count(ep)["aten.bmm.default"]
    assert_same(ep, Experts(), arguments(5), arguments(1), arguments(12))


def test_near_misses() -> None:
    assert_unchanged(functional(Experts(dim=None), arguments(5)), fuse_experts)

    class Floats(torch.nn.Module):
        def forward(self, w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return torch.bmm(w, x.unsqueeze(-1)).squeeze(-1)

    assert_unchanged(functional(Floats(), (torch.randn(5, 6, 8), torch.randn(5, 8))), fuse_experts)
