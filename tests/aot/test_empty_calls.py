"""Calls with sizes of 0: of dynamic inputs whose minimum is 0, and numbers of elements that depend on values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.runtime import Runtime
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import ShapeError
from executorch_ggml.host import register_backend

pytestmark = pytest.mark.filterwarnings("ignore")


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


class Joined(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return self.function(x, y)


def flat(results: Any) -> list[torch.Tensor]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def agrees(path: Path, module: nn.Module, calls: Sequence[tuple[torch.Tensor, ...]], sizes: Any) -> None:
    lowered = to_edge_rewrite_and_lower(export(module.eval(), calls[0], dynamic_shapes=sizes))
    data = bytes(lowered.to_executorch().buffer)
    path.write_bytes(data)
    register_backend()
    method = Runtime.get().load_program(data).load_method("forward")
    with Program(path, threads=1) as program, torch.no_grad():
        for args in (*calls, calls[0]):
            for got in (program(*args), method.execute(list(args))):
                for g, w in zip(flat(got), flat(module(*args)), strict=True):
                    assert (g.shape, g.dtype) == (w.shape, w.dtype)
                    assert torch.allclose(g, w, 1e-5, 1e-6)


def rows(*counts: int) -> list[tuple[torch.Tensor, ...]]:
    return [(torch.randn(n, 4),) for n in counts]


def test_a_batch_of_none(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 2))
    agrees(tmp_path / "m.pte", module, rows(3, 0, 1, 8, 0), ({0: Dim("b", min=0, max=8)},))


def test_images(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Flatten())
    calls = [(torch.randn(n, 2, 6, 6),) for n in (2, 0, 3)]
    agrees(tmp_path / "m.pte", module, calls, ({0: Dim("b", min=0, max=4)},))


def test_what_does_not_depend_on_it_is_computed(tmp_path: Path) -> None:
    module = Joined(lambda x, y: (x.exp() * 2, y.exp() + 1, x[:, :2].long()))
    calls = [(torch.randn(n, 4), torch.randn(2, 3)) for n in (2, 0, 5)]
    agrees(tmp_path / "m.pte", module, calls, ({0: Dim("b", min=0, max=5)}, {}))


def test_a_minimum_of_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "m.pte"
    program = export(nn.Linear(4, 5), rows(3)[0], dynamic_shapes=({0: Dim("b", min=1, max=8)},))
    path.write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
    with Program(path, threads=1) as loaded, pytest.raises(ShapeError, match=r"1\.\.8"):
        loaded(torch.randn(0, 4))


@pytest.mark.parametrize("function", [lambda x: x.exp().sum(0), lambda x: torch.cat([x * 2, torch.ones(1, 4)])])
def test_elements_made_from_none_are_refused_by_the_call(function: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.pte"
    program = export(Calls(function), rows(3)[0], dynamic_shapes=({0: Dim("b", min=0, max=8)},))
    path.write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
    with Program(path, threads=1) as loaded:
        with pytest.raises(ShapeError, match="computed from a tensor without any"):
            loaded(torch.randn(0, 4))
        x = torch.randn(2, 4)
        assert torch.allclose(loaded(x)[0], function(x))


def chosen(x: torch.Tensor) -> Any:
    found = x[x > 0]
    return found * 2, (found.exp() + 1).sum()


def test_nothing_is_chosen(tmp_path: Path) -> None:
    calls = [(torch.randn(8),), (-torch.ones(8),), (torch.ones(8),)]
    agrees(tmp_path / "m.pte", Calls(chosen), calls, None)
