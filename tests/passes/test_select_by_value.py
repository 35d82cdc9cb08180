"""Entries chosen, and written, by a number that a tensor holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import GgmlError

pytestmark = pytest.mark.filterwarnings("ignore")


class Calls(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> Any:
        return self.function(x, n)


def written(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    return torch.select_scatter(x, x[:, n[0]] + 1, 1, n[1].item())  # type: ignore[arg-type]


FORMS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "first": lambda x, n: x[n[0]] * 2,
    "another dimension": lambda x, n: x[1, :, n[1]] * 2,
    "one less": lambda x, n: x[:, n[0] - 1] + x[0, n[1] + 1],
    "two": lambda x, n: x[n[0], n[1]] * 2,
    "written": written,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_selected(form: str, dtype: torch.dtype, tmp_path: Path) -> None:
    x, n = (torch.arange(60.0).reshape(3, 4, 5) / 7).to(dtype), torch.tensor([2, 0])
    module = Calls(FORMS[form])
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(module, (x, n))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for places in (n, torch.tensor([1, 2]), torch.tensor([-1, -2])):
            assert torch.allclose(program(x, places)[0], module(x, places))
        with pytest.raises(GgmlError):
            program(x, torch.tensor([7, 7]))
        assert torch.allclose(program(x, n)[0], module(x, n))


def test_the_last_of_each_length(tmp_path: Path) -> None:
    def last(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return torch.relu(x[:, n - 1])

    x, n = torch.randn(2, 6, 3), torch.tensor(4)
    sizes = ({1: Dim("t", min=2, max=9)}, {})
    path = tmp_path / "m.pte"
    path.write_bytes(
        to_edge_rewrite_and_lower(export(Calls(last), (x, n), dynamic_shapes=sizes)).to_executorch().buffer
    )
    with Program(path, threads=1) as program:
        for given, length in ((x, 6), (torch.randn(2, 9, 3), 9), (x, 1)):
            assert torch.allclose(program(given, torch.tensor(length))[0], last(given, torch.tensor(length)))
