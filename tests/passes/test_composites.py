"""Composite operators on integers, or on several types, and the faults of ExecuTorch's kernels that they would hide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

BIG = 2**40 + 1
Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Of int64 numbers beyond 2^24: ExecuTorch's sum over one dimension adds in float32, and its power in float64.
INTEGERS: dict[str, Function] = {
    "mv": torch.mv,
    "matmul by a vector": lambda x, v: x @ v,
    "vector by matmul": lambda x, v: v @ x,
    "dot": lambda x, v: torch.dot(x[0], v),
    "vdot": lambda x, v: torch.vdot(x[1], v),
    "inner": torch.inner,
    "einsum": lambda x, v: torch.einsum("ij,ij->i", x, x * v),
    "sum_to_size": lambda x, v: (x * v).sum_to_size(1, 4),
    "square": lambda x, v: torch.square(x * 2**30 + 1),
    "cross": lambda x, v: torch.linalg.cross(x[:, :3], x[:, 1:] * v[0], dim=1),
    "margin_ranking_loss": lambda x, v: F.margin_ranking_loss(x, x * v[0], torch.sign(x), 0.5, reduction="none"),
}

PAIRS = (
    (torch.float32, torch.int32),
    (torch.int64, torch.float64),
    (torch.float16, torch.bfloat16),
    (torch.int16, torch.float16),
    (torch.float32, torch.float16),
    (torch.bool, torch.float32),
    (torch.uint8, torch.int64),
)
STACKS: dict[str, Callable[[list[torch.Tensor]], torch.Tensor]] = {
    "cat": torch.cat,
    "stack": torch.stack,
    "hstack": torch.hstack,
    "vstack": torch.vstack,
    "dstack": torch.dstack,
    "column_stack": torch.column_stack,
    "concat": torch.concat,
    "block_diag": lambda tensors: torch.block_diag(*tensors),  # type: ignore[no-untyped-call]
}


class Calls(nn.Module):
    def __init__(self, functions: list[Callable[..., torch.Tensor]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *args: torch.Tensor) -> list[torch.Tensor]:
        return [f(*args) for f in self.functions]


def wrong(model: nn.Module, args: tuple[torch.Tensor, ...], names: list[str], path: Path, rewrites: bool) -> list[str]:
    edge = to_edge_rewrite_and_lower(export(model, args), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as run:
        results: list[Any] = [torch.as_tensor(r) for r in run(*args)]
    found = zip(names, results, model(*args), strict=True)
    return [f"{n}: {g} instead of {w}" for n, g, w in found if g.dtype != w.dtype or not torch.equal(g, w)]


@pytest.mark.parametrize("rewrites", [True, False])
def test_integers(rewrites: bool, tmp_path: Path) -> None:
    x = torch.arange(16).reshape(4, 4) * BIG - 7
    v = torch.tensor([3, -1, 2, 5])
    assert not wrong(Calls(list(INTEGERS.values())), (x, v), list(INTEGERS), tmp_path / "m.pte", rewrites)


def test_sums_of_float64(tmp_path: Path) -> None:
    """ExecuTorch adds over one dimension in float32."""
    functions: list[Callable[..., torch.Tensor]] = [
        lambda x: x.sum(1),
        lambda x: x.sum(0, keepdim=True),
        lambda x: x[0].sum(),
        lambda x: torch.mv(x, x[0]),
        lambda x: torch.dot(x[0], x[1]),
        lambda x: x.norm(dim=1),
        lambda x: (x / 3e4).logsumexp(1),
        lambda x: torch.einsum("ij,ij->i", x, x),
        lambda x: F.group_norm(x + 1e6, 3, x[0] - 2e4, x[1]),
        lambda x: F.group_norm(x[None] + 1e6, 1),
        lambda x: F.instance_norm(x[None] + 1e6, weight=x[:, 0], bias=x[:, 1]),
        lambda x: F.instance_norm(x.reshape(1, 3, 3, 11) + 1e6, eps=0.1),
        lambda x: F.layer_norm(x + 1e6, (33,), x[0] - 2e4, x[1]),
        lambda x: F.layer_norm(x * 1e20, (3, 33), eps=0.5),
    ]
    x = torch.linspace(1e5, 2e5, 99, dtype=torch.float64).reshape(3, 33).contiguous() / 7
    edge = to_edge_rewrite_and_lower(export(Calls(functions), (x,)))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for got, want in zip(run(x), Calls(functions)(x), strict=True):
            torch.testing.assert_close(torch.as_tensor(got), want, rtol=1e-10, atol=1e-12)


def test_norms_of_float64_of_dynamic_sizes(tmp_path: Path) -> None:
    norms = Calls(
        [
            lambda x: F.group_norm(x, 2),
            lambda x: F.instance_norm(x),
            lambda x: F.layer_norm(x, (4, 7)),
        ]
    )
    x = torch.linspace(1e6, 2e6, 3 * 4 * 7, dtype=torch.float64).reshape(3, 4, 7) + 1e7
    sizes = ((({0: torch.export.Dim("n", min=1, max=8)}),),)
    edge = to_edge_rewrite_and_lower(export(norms, (x,), dynamic_shapes=sizes))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for rows in (3, 1):
            for got, want in zip(run(x[:rows].contiguous()), norms(x[:rows]), strict=True):
                torch.testing.assert_close(torch.as_tensor(got), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_sign_of_nan_is_zero(tmp_path: Path, dtype: torch.dtype) -> None:
    x = torch.tensor([float("nan"), float("inf"), -3.5, 0.0, -0.0, 5e-324], dtype=dtype)
    edge = to_edge_rewrite_and_lower(export(Calls([torch.sign, torch.sgn]), (x,)))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for got in run(x):
            assert torch.equal(torch.as_tensor(got), torch.sign(x))


def test_several_types_side_by_side(tmp_path: Path) -> None:
    """ExecuTorch's `cat` copies the bytes of an int32 beside float32."""
    functions: list[Callable[..., torch.Tensor]] = []
    for at in range(len(PAIRS)):
        functions += [lambda *t, at=at, stack=stack: stack([t[2 * at], t[2 * at + 1]]) for stack in STACKS.values()]
    args = tuple((torch.arange(6).reshape(2, 3) - 2).to(t) for pair in PAIRS for t in pair)
    names = [f"{name} of {pair}" for pair in PAIRS for name in STACKS]
    assert not wrong(Calls(functions), args, names, tmp_path / "m.pte", True)


def test_a_choice_between_half_types(tmp_path: Path) -> None:
    args = (torch.randn(3, 4).half(), torch.randn(3, 4).bfloat16())
    model = Calls([lambda x, y: torch.where(x > 0, x, y)])
    assert not wrong(model, args, ["where"], tmp_path / "m.pte", True)
