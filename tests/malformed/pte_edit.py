"""A program with operators outside its delegate and with constants, and edits of it as ExecuTorch's own tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from shared_models import lower_to_file


def host_program(path: Path) -> Path:
    """(x float32 [2, 8], i int64 [2]) -> floats from a delegate, integers from ExecuTorch's kernels, a constant."""
    import torch
    from torch import nn

    class Net(nn.Module):
        table: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4)
            self.register_buffer("table", torch.arange(10, 12))

        def forward(self, x: torch.Tensor, i: torch.Tensor) -> tuple[torch.Tensor, ...]:
            sums = i * 3 + self.table
            return torch.relu(self.linear(x)), sums, torch.cat([sums, i]), self.table

    torch.manual_seed(0)
    return lower_to_file(Net(), (torch.ones(2, 8), torch.arange(2)), path)


def edited(source: Path, target: Path, edit: Callable[[Any], None]) -> Path:
    """A copy in which `edit` has changed the ExecutionPlan."""
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    file = deserialize_pte_binary(source.read_bytes())
    edit(file.program.execution_plan[0])
    target.write_bytes(bytes(serialize_pte_binary(file)))
    return target


def calls(plan: Any, kind: str) -> list[Any]:
    """The arguments of the instructions of that kind ("KernelCall", ...)."""
    arguments = [instruction.instr_args for instruction in plan.chains[0].instructions]
    return [argument for argument in arguments if type(argument).__name__ == kind]


def constants(plan: Any) -> list[int]:
    """Values that are constants of the file."""
    found = []
    for index, value in enumerate(plan.values):
        tensor = value.val
        if type(tensor).__name__ == "Tensor" and tensor.data_buffer_idx > 0 and tensor.allocation_info is None:
            found.append(index)
    return found
