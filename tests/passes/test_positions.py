"""Indexing by positions, integer tables, repeats, splits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, count, functional
from torch.export import Dim

from executorch_ggml.aot.passes import expand_repeats, index_by_layout, split_by_slices, tabulate


class Calls(torch.nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.function(*args)


def sizes(*axes: dict[int, Any]) -> Any:
    return (tuple(axes),)


N, T = Dim("n", min=1, max=8), Dim("t", min=1, max=20)

# ------------------------------------------------------------------------------------------------ index_by_layout


def padding(x: torch.Tensor) -> torch.Tensor:
    batch = torch.arange(x.shape[0])[:, None, None, None]
    keys = torch.arange(x.shape[1])[None, None, None, :]
    return x[batch, keys]


def test_positions_are_a_reshape() -> None:
    module, x = Calls(padding), torch.randn(3, 5)
    ep = functional(module, (x,), sizes({0: N, 1: T}))
    assert index_by_layout(ep)
    assert not count(ep)["aten.index.Tensor"]
    assert_same(ep, module, (x,), (torch.randn(1, 1),), (torch.randn(2, 17),))


def test_trailing_dimensions_stay() -> None:
    module, x = Calls(lambda x: x[torch.arange(x.shape[0])[:, None]]), torch.randn(3, 5, 2)
    ep = functional(module, (x,), sizes({0: N}))
    assert index_by_layout(ep)
    assert_same(ep, module, (x,), (torch.randn(6, 5, 2),))


def test_row_of_an_argmax_is_a_gather() -> None:
    def pick(x: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return x[torch.arange(x.shape[0]), scores.argmax(-1)]

    module, args = Calls(pick), (torch.randn(3, 5, 4), torch.randn(3, 5))
    ep = functional(module, args, sizes({0: N, 1: T}, {0: N, 1: T}))
    assert index_by_layout(ep)
    assert count(ep)["aten.gather.default"] == 1
    assert_same(ep, module, args, (torch.randn(2, 9, 4), torch.randn(2, 9)))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x[torch.arange(2)],  # not all of them
        lambda x: x[torch.arange(3) * 2 % 3],  # another order
        lambda x: x[torch.arange(1, 4)],  # later ones
        lambda x: x[:, torch.arange(3)[:, None]],  # not from the first dimension on
        lambda x: x[torch.arange(4)[None, :] % 3, torch.arange(4)[None, :]],
        lambda x: x[torch.arange(3), torch.arange(3)],  # the diagonal
        lambda x: x[torch.arange(4)[None, :].expand(4, 4) // 2, torch.arange(4)[:, None]],
        lambda x: x.reshape(4, 4)[torch.arange(4)[None, :], torch.arange(4)[:, None]],  # transposed
    ],
)
def test_other_indices_are_left_alone(function: Callable[..., torch.Tensor]) -> None:
    ep = functional(Calls(function), (torch.randn(4, 4),))
    assert_unchanged(ep, index_by_layout)


# ------------------------------------------------------------------------------------------------------- tabulate


def bucket(x: torch.Tensor) -> torch.Tensor:
    """T5's relative position bucket."""
    positions = torch.arange(x.shape[0])
    relative = positions[None, :] - positions[:, None]
    distance = relative.abs()
    large = 8 + (torch.log(distance.float() / 8) / math.log(16) * 8).to(torch.int64)
    large = torch.min(large, torch.full_like(large, 15))
    return x[:, None] + ((relative > 0).to(torch.int64) * 16 + torch.where(distance < 8, distance, large))


def test_a_function_of_one_integer_is_a_table() -> None:
    module, x = Calls(bucket), torch.zeros(9)
    ep = functional(module, (x,), sizes({0: T}))
    assert tabulate(ep)
    found = count(ep)
    assert not found["aten.log.default"]
    assert found["aten.index.Tensor"] == 1
    assert_same(ep, module, *((torch.zeros(n),) for n in (1, 2, 9, 20)), tolerance=0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + torch.arange(9).abs(),  # exact as it is
        lambda x: x + (x * 2).to(torch.int64),  # of floats
        lambda x: x + ((torch.arange(9) + x.to(torch.int64)).float() / 2).to(torch.int64),  # of unbounded integers
        lambda x: (torch.arange(9).float() / 2)[None] + x,  # no integers come back
    ],
)
def test_other_functions_are_left_alone(function: Callable[..., torch.Tensor]) -> None:
    assert_unchanged(functional(Calls(function), (torch.randn(9),)), tabulate)


def test_without_an_upper_bound_there_is_no_table() -> None:
    ep = functional(Calls(bucket), (torch.zeros(9),), sizes({0: Dim("t", min=1)}))
    assert_unchanged(ep, tabulate)


# ----------------------------------------------------------------------------------------------- repeats and splits


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_repeats(dim: int) -> None:
    module, x = Calls(lambda x: torch.repeat_interleave(x, 3, dim) * 1.0), torch.randn(4, 2, 5)
    ep = functional(module, (x,), sizes({0: N}))
    fired = expand_repeats(ep)
    assert fired == (dim == 0)  # otherwise two sizes would be left to be worked out
    assert_same(ep, module, (x,), (torch.randn(1, 2, 5),))


def test_splits_of_computed_sizes() -> None:
    def halves(x: torch.Tensor) -> torch.Tensor:
        a, b = x.reshape(-1, 6).split([2, 4], -1)
        return torch.cat([b * 2, a], -1)

    module, x = Calls(halves), torch.randn(4, 2, 6)
    ep = functional(module, (x,), sizes({0: N}))
    assert split_by_slices(ep)
    assert_same(ep, module, (x,), (torch.randn(1, 2, 6),))
    static = functional(module, (x,))
    assert_unchanged(static, split_by_slices)
