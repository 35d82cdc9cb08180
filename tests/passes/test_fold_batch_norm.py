"""Batch norm folded into the layer before it."""

from __future__ import annotations

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional
from torch import nn

from executorch_ggml.aot.passes import BatchNormFoldingRewritePass, fold_batch_norm


def trained(norm: nn.Module) -> nn.Module:
    """A batch norm whose statistics and parameters are all different (the defaults would hide mistakes)."""
    torch.manual_seed(7)
    n = norm.num_features
    norm.running_mean, norm.running_var = torch.randn(n), torch.rand(n) + 0.5
    if norm.affine:
        norm.weight, norm.bias = nn.Parameter(torch.randn(n)), nn.Parameter(torch.randn(n))
    return norm


def norms(ep) -> int:
    found = count(ep)
    return found["aten.batch_norm.default"] + found["aten._native_batch_norm_legit_no_training.default"]


CASES = [
    (nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), trained(nn.BatchNorm2d(8)), nn.ReLU()), (2, 3, 16, 16)),
    (
        nn.Sequential(nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=1), trained(nn.BatchNorm2d(8, eps=0.1))),
        (1, 4, 9, 9),
    ),
    (nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), trained(nn.BatchNorm2d(8, affine=False))), (1, 8, 8, 8)),
    (nn.Sequential(nn.Conv1d(4, 6, 3), trained(nn.BatchNorm1d(6))), (2, 4, 11)),
    (nn.Sequential(nn.Conv3d(2, 4, 2), trained(nn.BatchNorm3d(4))), (1, 2, 4, 4, 4)),
    (nn.Sequential(nn.Linear(5, 6), trained(nn.BatchNorm1d(6))), (3, 5)),
]


@pytest.mark.parametrize("module,size", CASES)
def test_folds(module: nn.Module, size: tuple[int, ...]) -> None:
    module.eval()
    ep = functional(module, (torch.randn(size),))
    assert fold_batch_norm(ep)
    assert norms(ep) == 0
    assert torch.equal(ep.state_dict["0.weight"], module[0].weight)
    assert_same(ep, module, (torch.randn(size),), tolerance=1e-5)


@pytest.mark.parametrize("prepare", [lambda ep: ep, lambda ep: ep.run_decompositions()])
def test_public_pass(prepare) -> None:
    module, x = CASES[0][0].eval(), torch.randn(2, 3, 16, 16)
    ep = prepare(torch.export.export(module, (x,)))
    keys = set(ep.state_dict)
    folded = BatchNormFoldingRewritePass()(ep)
    assert norms(folded) == 0
    assert norms(ep) == 1
    assert set(ep.state_dict) == keys
    assert_same(folded, module, (x,), tolerance=1e-5)
    assert BatchNormFoldingRewritePass().run(folded) is folded


def test_prefix() -> None:
    ep = torch.export.export(CASES[0][0].eval(), (torch.randn(2, 3, 16, 16),))
    folded = BatchNormFoldingRewritePass(bias_buffer_prefix="mine_")(ep)
    assert {"mine_0.weight_folded", "mine_0.weight_folded_bias"} <= set(folded.state_dict)


class Misfit(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.ConvTranspose2d(4, 4, 3) if how == "transposed" else nn.Conv2d(4, 4, 3)
        self.linear = nn.Linear(6, 6)
        self.norm = trained(nn.BatchNorm1d(4) if how == "middle" else nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "middle":
            return self.norm(self.linear(x))
        y = self.conv(x)
        if self.how == "between":
            return self.norm(torch.relu(y))
        if self.how == "read_twice":
            return self.norm(y) + y
        if self.how == "alone":
            return self.norm(x)
        return self.norm(y)


@pytest.mark.parametrize("how", ["between", "read_twice", "alone", "transposed", "middle"])
def test_leaves_near_misses_alone(how: str) -> None:
    x = torch.randn(2, 4, 6) if how == "middle" else torch.randn(2, 4, 8, 8)
    assert_unchanged(functional(Misfit(how), (x,)), fold_batch_norm)


def test_shared_weights_get_values_of_their_own() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)
            self.a, self.b = trained(nn.BatchNorm2d(4)), nn.BatchNorm2d(4, eps=0.3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.conv(self.a(self.conv(x)))) + self.conv(x)

    module, x = Tied().eval(), torch.randn(1, 4, 6, 6)
    ep = functional(module, (x,))
    assert fold_batch_norm(ep)
    assert norms(ep) == 0
    assert_same(ep, module, (x,), tolerance=1e-5)


def test_training_statistics_stay() -> None:
    class Live(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x))

    ep = functional(Live(), (torch.randn(2, 4, 8, 8),))
    assert_unchanged(ep, fold_batch_norm)
