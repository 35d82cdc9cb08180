"""Buffers that are called like an argument, and buffers written by a copy that repeats or converts its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.runtime.register import register_backend

pytestmark = pytest.mark.filterwarnings("ignore")


class Keeps(nn.Module):
    """A buffer `h`, and an argument of that name."""

    def __init__(self, start: torch.Tensor, step: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.register_buffer("h", start.clone())
        self.step = step

    def forward(self, h: torch.Tensor) -> Any:
        return self.step(self.h, h)


def follows(path: Path, data: bytes, start: torch.Tensor, step: Any, calls: Sequence[torch.Tensor]) -> None:
    eager = Keeps(start, step)
    wanted = [[r.clone() for r in eager(x)] for x in calls]
    path.write_bytes(data)
    register_backend()
    with Program(path, threads=1) as program:
        method = Runtime.get().load_program(data).load_method("forward")
        for i, x in enumerate(calls):
            for got in (program(x), method.execute([x])):
                assert len(got) == len(wanted[i])
                for g, w in zip(got, wanted[i], strict=True):
                    assert g.dtype == w.dtype
                    assert torch.allclose(g, w), f"call {i}: {g} instead of {w}"


def added(state: torch.Tensor, x: torch.Tensor) -> Any:
    return [state.add_(x) * 2]


@pytest.mark.parametrize("plain", [False, True], ids=["rewritten", "partitioner alone"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.float32], ids=str)
def test_a_buffer_called_like_an_argument(dtype: torch.dtype, plain: bool, tmp_path: Path) -> None:
    start, calls = torch.ones(2, 3, dtype=dtype), [torch.full((2, 3), i + 1).to(dtype) for i in range(3)]
    program = export(Keeps(start, added), (calls[0],))
    manager: Any = (
        to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner()])
        if plain
        else to_edge_rewrite_and_lower(program)
    )
    follows(tmp_path / "m.pte", bytes(manager.to_executorch().buffer), start, added, calls)


def repeated(state: torch.Tensor, x: torch.Tensor) -> Any:
    state.copy_(x[0])
    return [state.clone(), state.sum(0)]


def partly(state: torch.Tensor, x: torch.Tensor) -> Any:
    state[:, 1:].copy_(x[0, :1])
    return [state.clone()]


def into_another_tensor(state: torch.Tensor, x: torch.Tensor) -> Any:
    made = torch.zeros(2, 3)
    made.copy_(x[1])
    state.copy_(made + 1)
    return [made * 1, state.clone()]


@pytest.mark.parametrize("step", [repeated, partly, into_another_tensor])
@pytest.mark.parametrize(
    ("held", "given"),
    [("float32", "float32"), ("float32", "int64"), ("int64", "float32"), ("float16", "float32"), ("int64", "int64")],
)
def test_a_copy_takes_shape_and_type_of_the_buffer(step: Any, held: str, given: str, tmp_path: Path) -> None:
    start = torch.full((2, 3), 2).to(getattr(torch, held))
    calls = [(torch.arange(6).reshape(2, 3) * (i + 1.5)).to(getattr(torch, given)) for i in range(2)]
    data = bytes(to_edge_rewrite_and_lower(export(Keeps(start, step), (calls[0],))).to_executorch().buffer)
    follows(tmp_path / "m.pte", data, start, step, calls)
