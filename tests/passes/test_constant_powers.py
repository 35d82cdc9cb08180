"""Powers whose exponent or base is a tensor of one number."""

from __future__ import annotations

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional

from executorch_ggml.aot.passes import use_constant_powers

pytestmark = pytest.mark.filterwarnings("ignore")


class Power(torch.nn.Module):
    def __init__(self, number: torch.Tensor, persistent: bool = True, base: bool = False) -> None:
        super().__init__()
        self.register_buffer("number", number, persistent=persistent)
        self.base = base

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.pow(self.number, x) if self.base else torch.pow(x, self.number)


@pytest.mark.parametrize(
    "number", [torch.tensor(2.0), torch.tensor([3.0]), torch.tensor(2), torch.full((2, 1, 5), -1.0)]
)
def test_exponents(number: torch.Tensor) -> None:
    module, x = Power(number, persistent=number.dim() == 0), torch.rand(3, 5) + 0.5
    ep = functional(module, (x,))
    assert use_constant_powers(ep)
    assert "aten.pow.Tensor_Tensor" not in count(ep)
    assert_same(ep, module, (x,))


@pytest.mark.parametrize("number", [torch.tensor(2.5), torch.tensor([[0.3]])])
def test_bases(number: torch.Tensor) -> None:
    module, x = Power(number, base=True), torch.randn(3, 5)
    ep = functional(module, (x,))
    assert use_constant_powers(ep)
    assert "aten.pow.Tensor_Tensor" not in count(ep)
    assert_same(ep, module, (x,))


@pytest.mark.parametrize("number", [torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), torch.tensor([2.0], dtype=torch.float64)])
def test_others_are_left_alone(number: torch.Tensor) -> None:
    assert_unchanged(functional(Power(number), (torch.rand(3, 5),)), use_constant_powers)
