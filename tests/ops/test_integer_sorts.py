"""Sorts, selections and medians of every type: in a delegate where F32 holds the values, else by `topk`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import UnloadableError

pytestmark = pytest.mark.filterwarnings("ignore")


class Calls(nn.Module):
    def __init__(self, *functions: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        results: list[torch.Tensor] = []
        for function in self.functions:
            found = function(x)
            results += list(found) if isinstance(found, tuple) else [found]
        return results


def agrees(path: Path, module: nn.Module, *inputs: torch.Tensor, dynamic: Any = None) -> None:
    program = to_edge_rewrite_and_lower(export(module, inputs[:1], dynamic_shapes=dynamic))
    path.write_bytes(program.to_executorch().buffer)
    with Program(path, threads=1) as loaded:
        for x in inputs:
            for i, (got, want) in enumerate(zip(loaded(x), module(x), strict=True)):
                assert (got.dtype, got.shape) == (want.dtype, want.shape)
                assert torch.allclose(got, want, 0, 0, equal_nan=True), f"result {i}: {got} instead of {want}"


def examples(dtype: torch.dtype) -> torch.Tensor:
    x = torch.randint(0, 6, (3, 9), generator=torch.Generator().manual_seed(1))
    if dtype is torch.float64:
        y = x.double() / 3 * 1e300
        y[0, 3] = y[0, 5] = float("nan")
        y[1, 2:5] = torch.tensor([-float("inf"), 1 + 2**-50, 1.0], dtype=dtype)
        return y
    if dtype in (torch.int32, torch.int64):
        return (x * (torch.iinfo(dtype).max // 8)).to(dtype)
    return x.to(dtype) - (3 if dtype in (torch.int8, torch.int16) else 0)


TYPES = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.float64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_orders(dtype: torch.dtype, tmp_path: Path) -> None:
    functions = (
        lambda x: tuple(x.sort()),
        lambda x: tuple(torch.sort(x, dim=0, descending=True, stable=True)),
        lambda x: x.argsort(1).argsort(1),
        lambda x: torch.msort(x),
        lambda x: tuple(x[:, :1].sort()),
        lambda x: x.reshape(3, 3, 3).sort(1, True).indices,
        lambda x: x.flatten().sort(stable=True)[1],
    )
    agrees(tmp_path / "m.pte", Calls(*functions), examples(dtype))


@pytest.mark.parametrize("dtype", [*TYPES, torch.float32, torch.float16], ids=str)
def test_selections(dtype: torch.dtype, tmp_path: Path) -> None:
    functions = (
        lambda x: x.topk(3).values,
        lambda x: x.topk(2, 0, False).values,
        lambda x: x.kthvalue(4).values,
        lambda x: x.kthvalue(2, 0, True).values,
        lambda x: x.median(),
        lambda x: x.median(1).values,
        lambda x: x.median(0, True).values,
    )
    agrees(tmp_path / "m.pte", Calls(*functions), examples(dtype))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64], ids=str)
def test_dynamic_sizes(dtype: torch.dtype, tmp_path: Path) -> None:
    x, rows = examples(dtype), Dim("rows", min=1, max=9)
    module = Calls(lambda x: tuple(x.sort(0)), lambda x: x.median(1).values)
    agrees(tmp_path / "m.pte", module, x, x.repeat(3, 1), x[:1], dynamic=({0: rows},))


def test_places_of_not_a_number(tmp_path: Path) -> None:
    agrees(tmp_path / "m.pte", Calls(lambda x: tuple(x.median(1))), examples(torch.float64)[:1])


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64], ids=str)
def test_places_of_equal_integers(dtype: torch.dtype) -> None:
    with pytest.raises(UnloadableError, match="median"):
        to_edge_rewrite_and_lower(export(Calls(lambda x: x.median(1).indices), (examples(dtype),)))


def test_integers_between_operators_of_the_host(tmp_path: Path) -> None:
    """A delegate of integers alone, where ExecuTorch has no kernel."""
    agrees(tmp_path / "m.pte", Calls(lambda x: torch.bitwise_xor(x, 3).sort(1).values // 2 + x), examples(torch.int8))
