"""Gated units."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from graph_checks import assert_same, assert_unchanged, count, functional

from executorch_ggml.aot.passes import fuse_glu

GLU = "executorch_ggml.glu.default"


class Two(torch.nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        torch.manual_seed(3)
        self.gate, self.up = torch.nn.Linear(6, 10), torch.nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self.gate(x), self.up(x))


@pytest.mark.parametrize(
    "function,name",
    [
        (lambda g, u: F.silu(g) * u, "silu"),
        (lambda g, u: u * F.silu(g), "silu"),
        (lambda g, u: g * torch.sigmoid(g) * u, "silu"),
        (lambda g, u: F.gelu(g) * u, "gelu"),
        (lambda g, u: F.relu(g) * u, "relu"),
    ],
)
def test_fires(function, name: str) -> None:
    module, x = Two(function), torch.randn(2, 5, 6)
    ep = functional(module, (x,), ({1: torch.export.Dim("t", min=1, max=9)},))
    assert fuse_glu(ep)
    node = next(n for n in ep.graph.nodes if str(n.target) == GLU)
    assert node.args[2] == name
    assert node.args[0] is not node.args[1]
    assert_same(ep, module, (x,), (torch.randn(2, 1, 6),))


def test_halves_of_one_projection() -> None:
    class Halves(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gate, up = x.chunk(2, dim=-1)
            return up * F.silu(gate)

    ep = functional(Halves(), (torch.randn(2, 5, 6),))
    assert fuse_glu(ep)
    assert_same(ep, Halves(), (torch.randn(2, 5, 6),))


@pytest.mark.parametrize(
    "function",
    [
        lambda g, u: F.gelu(g, approximate="tanh") * u,
        lambda g, u: F.silu(g) + u,
        lambda g, u: F.silu(g) * u.mean(-1, keepdim=True),
        lambda g, u: F.silu(g) * 2.0,
        lambda g, u: torch.sigmoid(g) * u,
    ],
)
def test_leaves_near_misses_alone(function) -> None:
    ep = functional(Two(function), (torch.randn(2, 5, 6),))
    assert_unchanged(ep, fuse_glu)


def test_an_activation_with_other_readers_stays() -> None:
    def both(g, u):
        a = F.silu(g)
        return a * u + a

    ep = functional(Two(both), (torch.randn(2, 5, 6),))
    assert_unchanged(ep, fuse_glu)
    assert count(ep)["aten.silu.default"] == 1


def test_double_precision_stays_with_executorch() -> None:
    module = Two(lambda g, u: F.silu(g) * u).double()
    assert_unchanged(functional(module, (torch.randn(2, 6).double(),)), fuse_glu)
