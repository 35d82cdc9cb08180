"""Which buffers of several methods are one state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.exir import ExecutorchBackendConfig
from executorch.exir.passes import MemoryPlanningPass
from torch import nn
from torch.export import ExportedProgram, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.lowered_program import LoweredProgram, host_states
from executorch_ggml.errors import InvalidArgumentError

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.ones(2)


class Sum(nn.Module):
    def __init__(self, start: float = 0.0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((2,), start, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total.add_(x)
        return self.total * 1


class Inner(nn.Module):
    """The same module under another name."""

    def __init__(self, inner: Sum) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + 100


class Reads(nn.Module):
    def __init__(self, total: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("total", total)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.total - x


def exported(module: nn.Module) -> ExportedProgram:
    return export(module, (X,))


def values(path: Path, manager: Any, calls: str) -> list[float]:
    path.write_bytes(manager.to_executorch().buffer)
    with Program(path, threads=1) as program:
        return [float(program.execute(name, [np.ones(2, np.float32)])[0][0]) for name in calls]


def test_one_tensor_under_two_names(tmp_path: Path) -> None:
    model = Sum()
    manager = to_edge_rewrite_and_lower({"a": exported(model), "b": exported(Inner(model))})
    assert values(tmp_path / "m.pte", manager, "abab") == [1, 102, 3, 104]


@pytest.mark.parametrize("second", [Sum(), Reads(torch.zeros(2))])
def test_one_name_of_two_tensors(second: nn.Module) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'a' and 'b' have a buffer 'total'.*share_states=True"):
        to_edge_rewrite_and_lower({"a": exported(Sum()), "b": exported(second)})


def test_share_states(tmp_path: Path) -> None:
    programs = {"a": exported(Sum()), "b": exported(Sum())}
    one = to_edge_rewrite_and_lower(programs, share_states=True)
    assert values(tmp_path / "one.pte", one, "abab") == [1, 2, 3, 4]
    two = to_edge_rewrite_and_lower(programs, share_states=False)
    assert values(tmp_path / "two.pte", two, "abab") == [1, 1, 2, 2]
    for other in (Sum(1.0), Sum(dtype=torch.float64)):
        with pytest.raises(InvalidArgumentError, match="cannot share the buffer 'total'"):
            to_edge_rewrite_and_lower({"a": exported(Sum()), "b": exported(other)}, share_states=True)


def test_a_name_that_is_taken() -> None:
    """The state's name in the first method belongs to another buffer in the second."""
    model = Sum()
    inner = Inner(model)
    inner.register_buffer("total", torch.zeros(2))

    def forward(x: torch.Tensor) -> torch.Tensor:
        return inner.inner(x) + inner.total

    inner.forward = forward  # type: ignore[method-assign]
    with pytest.raises(InvalidArgumentError):
        to_edge_rewrite_and_lower({"a": exported(model), "b": exported(inner)})


def test_memory_planning_of_the_callers() -> None:
    """States of ExecuTorch lie in memory of their own, whatever else the caller asks of the planning."""
    model = Sum(dtype=torch.float64)
    manager = to_edge_rewrite_and_lower({"a": exported(model), "b": exported(Inner(model))})
    assert isinstance(manager, LoweredProgram)
    assert host_states(manager.exported_program("b")) == ["total"]
    config = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))
    plans = manager.to_executorch(config).executorch_program.execution_plan
    assert [len(plan.non_const_buffer_sizes) for plan in plans] == [3, 3]
    assert [plan.non_const_buffer_sizes[2] for plan in plans] == [16, 16]
