"""RMSNorm in every spelling, and what only looks like one."""

from __future__ import annotations

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional

from executorch_ggml.aot.passes import fuse_rms_norm

RMS = "aten.rms_norm.default"


class Norm(torch.nn.Module):
    """A function of x and a weight of x's last size."""

    def __init__(self, function, size: int = 8) -> None:
        super().__init__()
        self.function = function
        torch.manual_seed(1)
        self.weight = torch.nn.Parameter(torch.randn(size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.weight)


def hugging_face(x, w):
    x = x.to(torch.float32)
    return w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)).to(torch.float32)


def gemma(x, w):
    return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5)) * (1.0 + w)


def squared_by_product(x, w):
    return x * torch.rsqrt((x * x).mean(dim=[2], keepdim=True) + 0.5) * w


def divided(x, w):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + 1e-3) * w


def to_the_power(x, w):
    return x * (x.pow(2).mean(-1, keepdim=True) + 1e-3).pow(-0.5)


@pytest.mark.parametrize("function", [hugging_face, gemma, squared_by_product, divided, to_the_power])
def test_fires(function) -> None:
    module, x = Norm(function), torch.randn(2, 3, 8)
    ep = functional(module, (x,))
    assert fuse_rms_norm(ep)
    assert count(ep)[RMS] == 1
    assert count(ep)["aten.rsqrt.default"] + count(ep)["aten.mean.dim"] == 0
    assert_same(ep, module, (x,), (x * 100,), (x * 1e-3,))


def test_dynamic_length() -> None:
    module, x = Norm(hugging_face), torch.randn(1, 3, 8)
    ep = functional(module, (x,), ({1: torch.export.Dim("t", min=1, max=9)},))
    assert fuse_rms_norm(ep)
    assert_same(ep, module, *((torch.randn(1, t, 8),) for t in (1, 4, 9)))


def test_weight_shared_with_another_use_is_not_changed() -> None:
    def tied(x, w):
        return hugging_face(x, w) + w

    module, x = Norm(tied), torch.randn(2, 3, 8)
    ep = functional(module, (x,))
    assert fuse_rms_norm(ep)
    assert torch.equal(ep.state_dict["weight"], module.weight)
    assert_same(ep, module, (x,))


def other_axis(x, w):
    return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)


def cubed(x, w):
    return x * torch.rsqrt(x.pow(3).abs().mean(-1, keepdim=True) + 1e-6)


def centred(x, w):
    c = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(c.pow(2).mean(-1, keepdim=True) + 1e-6)


def no_epsilon(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))


def epsilon_of_data(x, w):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + x.abs().max())


def weighted_inside(x, w):
    return x * torch.rsqrt((x * w).pow(2).mean(-1, keepdim=True) + 1e-6)


def two_axes(x, w):
    return x * torch.rsqrt(x.pow(2).mean((-2, -1), keepdim=True) + 1e-6)


@pytest.mark.parametrize(
    "function", [other_axis, cubed, centred, no_epsilon, epsilon_of_data, weighted_inside, two_axes]
)
def test_leaves_near_misses_alone(function) -> None:
    assert_unchanged(functional(Norm(function), (torch.randn(2, 8, 8),)), fuse_rms_norm)


def test_half_precision_keeps_its_casts() -> None:
    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(8, dtype=torch.bfloat16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            wide = x.to(torch.float32)
            return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(torch.bfloat16)

    module, x = Half(), torch.randn(2, 8, dtype=torch.bfloat16)
    ep = functional(module, (x,))
    assert fuse_rms_norm(ep)
    node = next(n for n in ep.graph.nodes if str(n.target) == RMS)
    assert node.meta["val"].dtype == torch.float32
    assert node.args[2] is None
    assert_same(ep, module, (x,), tolerance=0.0)
