"""Complex arithmetic in pairs of real numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional
from torch.export import Dim

from executorch_ggml.aot.passes import complex_to_pairs

pytestmark = pytest.mark.filterwarnings("ignore")


def table(length: int, half: int) -> torch.Tensor:
    angle = torch.outer(torch.arange(length).float(), 0.3 ** torch.arange(half).float())
    return torch.polar(torch.ones_like(angle), angle)


class Rotated(torch.nn.Module):
    """A rotary embedding as Llama's first code had it."""

    def __init__(self, persistent: bool) -> None:
        super().__init__()
        self.register_buffer("freqs_cis", table(16, 4), persistent=persistent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        turned = pairs * self.freqs_cis[: x.shape[1]].view(1, x.shape[1], 1, 4)
        return torch.view_as_real(turned).flatten(3).type_as(x)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_rotary_embedding(persistent: bool) -> None:
    module = Rotated(persistent)
    x = torch.randn(2, 5, 3, 8)
    ep = functional(module, (x,), ({1: Dim("t", min=2, max=16)},))
    assert complex_to_pairs(ep)
    values = [n.meta.get("val") for n in ep.graph.nodes]
    assert not any(v.is_complex() for v in values if isinstance(v, torch.Tensor))
    assert not any(v.is_complex() for v in [*ep.state_dict.values(), *ep.constants.values()])
    candidate = ep.module()
    for length in (5, 2, 16):
        y = torch.randn(2, length, 3, 8)
        torch.testing.assert_close(candidate(y), module(y))


class Arithmetic(torch.nn.Module):
    def forward(self, x: torch.Tensor, angle: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        z, turn = torch.complex(x[..., 0::2], x[..., 1::2]), torch.polar(torch.ones_like(angle), angle)
        y = (z * turn[at]).conj() * 2.0 + z / 3.0 - turn[at]
        y = torch.cat([y, -z], -1).transpose(0, 1)[:, 1:].unsqueeze(0)
        return y.real + y.imag * y.abs() + torch.view_as_real(y).sum(-1)


def test_arithmetic_and_movement() -> None:
    module, args = Arithmetic(), (torch.randn(2, 3, 8), torch.randn(5, 4), torch.tensor([4, 0, 2]))
    ep = functional(module, args)
    assert complex_to_pairs(ep)
    assert not any("complex" in name or "polar" in name for name in count(ep))
    assert_same(ep, module, args)


class Given(torch.nn.Module):
    def __init__(self, fn: Any) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor) -> Any:
        return self.fn(x)


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: torch.view_as_complex(x),  # a complex result
        lambda x: torch.view_as_real(torch.view_as_complex(x) / torch.view_as_complex(x + 1)),
        lambda x: torch.view_as_real(torch.exp(torch.view_as_complex(x))),
        lambda x: torch.view_as_real(torch.view_as_complex(x.double())),
        lambda x: x * 2,
    ],
)
def test_what_is_not_known_is_left_alone(fn: Any) -> None:
    assert_unchanged(functional(Given(fn), (torch.randn(3, 4, 2),)), complex_to_pairs)
