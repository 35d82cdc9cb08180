"""A part written into a tensor of another type takes the tensor's type."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import export

import executorch_ggml.aot.passes as passes
from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import UnloadableError

pytestmark = pytest.mark.filterwarnings("ignore")

TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)


class Writes(nn.Module):
    def forward(self, tensors: list[torch.Tensor], parts: list[torch.Tensor]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for x, y in itertools.product(tensors, parts):
            found += [
                torch.slice_scatter(x, y[:1], 0, 1, 2),
                torch.slice_scatter(x, y[:, :2].reshape(4, 1), 1, 1, None, 3),
                torch.select_scatter(x, y[0], 0, -1),
                torch.diagonal_scatter(x, y[0, :3], 1),
            ]
        return found


def tensors(*shape: int) -> list[torch.Tensor]:
    return [torch.linspace(0.2, 4.9, 16)[: shape[0] * shape[1]].reshape(shape).to(t) for t in TYPES]


@pytest.mark.parametrize("rewrites", [True, False])
def test_types_stay(rewrites: bool, tmp_path: Path) -> None:
    args: tuple[Any, ...] = (tensors(4, 4), tensors(2, 4))
    edge = to_edge_rewrite_and_lower(export(Writes(), args), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        got = run.execute("forward", [*args[0], *args[1]])
    for g, want in zip(got, Writes()(*args), strict=True):
        assert torch.equal(torch.as_tensor(g), want)
        assert torch.as_tensor(g).dtype == want.dtype


def test_another_type_of_a_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's decomposition of select_scatter promotes; nobody may notice only from the results."""
    monkeypatch.setattr(passes, "convert_written", lambda ep: False)

    class Selects(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.select_scatter(x, y, 0, 1)

    with pytest.raises(UnloadableError, match=r"float64 instead of torch\.float32") as caught:
        to_edge_rewrite_and_lower(export(Selects(), (torch.randn(3, 4), torch.randn(4).double())))
    assert [f.kind for f in caught.value.findings] == ["type"]
