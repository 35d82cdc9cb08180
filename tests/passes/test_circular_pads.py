"""Circular padding becomes slices and a concatenation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from graph_checks import assert_same, assert_unchanged, count, functional
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.passes import expand_circular_pads

pytestmark = pytest.mark.filterwarnings("ignore")


class Pads(nn.Module):
    def __init__(self, widths: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.widths, self.mode = widths, mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.pad(x, self.widths, mode=self.mode) * 2


@pytest.mark.parametrize("widths, joins", [((2, 1), 1), ((2, 1, 0, 3), 2), ((0, 0, 4, 0), 1), ((5, 5, 4, 4), 2)])
def test_pads(widths: tuple[int, ...], joins: int) -> None:
    x = torch.randn(2, 3, 4, 5) if len(widths) == 4 else torch.randn(2, 3, 5)
    module = Pads(widths, "circular")
    ep = functional(module, (x,))
    assert expand_circular_pads(ep)
    assert not count(ep)["aten.pad.default"]
    assert count(ep)["aten.cat.default"] == joins
    assert_same(ep, module, (x,))


@pytest.mark.parametrize("widths, mode", [((2, 1), "reflect"), ((2, 1), "replicate"), ((-1, 2), "circular")])
def test_others_stay(widths: tuple[int, ...], mode: str) -> None:
    assert_unchanged(functional(Pads(widths, mode), (torch.randn(2, 3, 7),)), expand_circular_pads)


@pytest.mark.parametrize("dim, low", [(0, 1), (2, 3)], ids=["dynamic batch", "dynamic length"])
def test_a_convolution_is_wholly_delegated(dim: int, low: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular").eval()
    shape = [2, 3, 7]
    dynamic = ({dim: Dim("n", min=low, max=9)},)
    edge = to_edge_rewrite_and_lower(export(module, (torch.randn(shape),), dynamic_shapes=dynamic))
    left = [str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"]
    assert {n for n in left if "getitem" not in n} == {"executorch_call_delegate"}
    path = tmp_path / "circular.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        for size in (low, 5, 9):
            shape[dim] = size
            x = torch.randn(shape)
            torch.testing.assert_close(running(x)[0], module(x), rtol=1e-5, atol=1e-5)
