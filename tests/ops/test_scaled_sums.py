"""a + alpha * b, also where a is a single element: ExecuTorch's kernel exchanges the operands then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64)


class Sums(nn.Module):
    """Every pair of types, as sums, differences and in place."""

    def __init__(self, types: tuple[torch.dtype, ...]) -> None:
        super().__init__()
        self.types = types

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> list[torch.Tensor]:
        results = []
        for one in self.types:
            x = a.to(one)
            for other in self.types:
                y = b.to(other)
                results += [torch.add(x, y, alpha=3), torch.sub(x, y, alpha=3), torch.add(y, x, alpha=3)]
        return results


def same(path: Path, module: nn.Module, *calls: tuple[torch.Tensor, ...], dynamic: Any = None) -> None:
    path.write_bytes(to_edge_rewrite_and_lower(export(module, calls[0], dynamic_shapes=dynamic)).to_executorch().buffer)
    with Program(path, threads=1) as program:
        for call in calls:
            for i, (got, want) in enumerate(zip(program(*call), module(*call), strict=True)):
                assert (got.dtype, got.shape) == (want.dtype, want.shape)
                assert torch.allclose(got, want, 2e-3 if want.dtype is torch.float16 else 1e-6, 0), f"result {i}"


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (1, 1, 1, 1, 1, 1)], ids=str)
def test_a_single_element_first(tmp_path: Path, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    b = torch.randint(0, 40, (2, 3, 1))
    same(tmp_path / "m.pte", Sums(TYPES[:5] if len(shape) > 4 else TYPES), (torch.full(shape, 7), b))


def test_integers_wrap_around(tmp_path: Path) -> None:
    b = torch.tensor([[100, -100, 32000], [7, 0, -32000]])
    same(tmp_path / "m.pte", Sums((torch.int8, torch.int16)), (torch.tensor(101), b))


def test_a_size_that_may_be_one(tmp_path: Path) -> None:
    calls = tuple((torch.arange(n) + 5, torch.arange(n) * 3) for n in (3, 1))
    n = Dim("n", min=1, max=8)
    same(tmp_path / "m.pte", Sums((torch.int32, torch.int64)), *calls, dynamic=({0: n}, {0: n}))
