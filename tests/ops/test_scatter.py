"""scatter and its relatives against torch: every form, the order of repeated positions, what is not finite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import ReferenceExecutor

pytestmark = pytest.mark.filterwarnings("ignore")

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


class All(torch.nn.Module):
    """Many functions of the same arguments as one program: exporting costs far more than running."""

    def __init__(self, functions: dict[str, Callable[..., torch.Tensor]]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *args: torch.Tensor) -> list[torch.Tensor]:
        return [fn(*args) for fn in self.functions.values()]


def check(
    functions: dict[str, Callable[..., torch.Tensor]], calls: list[Any], tmp_path: Path, dynamic: Any = None
) -> None:
    module = All(functions)
    partitioner = GgmlPartitioner()
    program = export(module, calls[0], dynamic_shapes=(dynamic,) if dynamic else None, strict=False)
    edge = to_edge_rewrite_and_lower(program, partitioner=partitioner)
    assert partitioner.decisions is not None
    left = {
        str(n): why for n, why in partitioner.decisions.reasons.items() if why and n.meta["val"].is_floating_point()
    }
    assert not left, left
    executor = ReferenceExecutor(edge.exported_program())

    def reference(args: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        return executor(*args)

    path = tmp_path / "m.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=3) as ours:
        for args in calls:
            for run in (lambda a: ours.execute("forward", list(a)), reference):
                for name, got, want in zip(functions, run(args), module(*args), strict=True):
                    got = torch.as_tensor(got).to(want.dtype)
                    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6, equal_nan=True, msg=name)


def forms(dim: int) -> dict[str, Callable[..., torch.Tensor]]:
    found: dict[str, Callable[..., torch.Tensor]] = {
        "scatter": lambda x, i, v: torch.scatter(x, dim, i, v),
        "number": lambda x, i, v: torch.scatter(x, dim, i, -1.5),
        "add": lambda x, i, v: torch.scatter_add(x, dim, i, v),
        "by name": lambda x, i, v: torch.scatter(x, dim, i, v, reduce="multiply"),
        "number by name": lambda x, i, v: torch.scatter(x, dim, i, 2.0, reduce="add"),
    }
    for how in REDUCTIONS:
        for own in (True, False):
            found[f"{how}, {own}"] = lambda x, i, v, how=how, own=own: torch.scatter_reduce(
                x, dim, i, v, how, include_self=own
            )
    return found


def draw(shape: tuple[int, ...], index: tuple[int, ...], dim: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, shape[dim], index, generator=generator)
    return torch.randn(shape, generator=generator), numbers, torch.randn(index, generator=generator)


SHAPES = [
    ((6,), (9,), 0),
    ((5, 4), (7, 4), 0),
    ((5, 4), (3, 2), -1),  # fewer numbers than entries in every dimension
    ((3, 4, 5), (2, 6, 5), 1),
    ((2, 3, 2, 4), (2, 3, 2, 5), 3),
    ((2, 3, 2, 4, 3), (2, 5, 2, 4, 3), -4),
]


@pytest.mark.parametrize(("shape", "index", "dim"), SHAPES)
def test_every_form(shape: tuple[int, ...], index: tuple[int, ...], dim: int, tmp_path: Path) -> None:
    calls = [draw(shape, index, dim, seed) for seed in (0, 1)]
    check(forms(dim), calls, tmp_path)


def test_a_dynamic_number_of_values(tmp_path: Path) -> None:
    sizes = ({0: Dim("rows", min=2, max=40)}, {0: Dim("count", min=1, max=200)}, {0: Dim("count", min=1, max=200)})
    calls = [draw((rows, 4), (count, 4), 0) for rows, count in ((7, 9), (2, 1), (40, 200))]
    check(forms(0), calls, tmp_path, sizes)


def test_slices_of_any_number(tmp_path: Path) -> None:
    """Message passing: edges are many and come in any number, each adds to its node."""
    functions: dict[str, Callable[..., torch.Tensor]] = {
        "index_add": lambda x, i, v: torch.index_add(x, 0, i, v),
        "index_add to zeros": lambda x, i, v: torch.zeros_like(x).index_add(0, i, v, alpha=2),
        "index_copy": lambda x, i, v: torch.index_copy(x, 0, i, v),
        "index_put": lambda x, i, v: torch.index_put(x, (i,), v),
        "index_put, added": lambda x, i, v: torch.index_put(x, (i,), v, accumulate=True),
        "two positions": lambda x, i, v: torch.index_put(x, (i, i % 3), v[:, 0]),
        "expanded": lambda x, i, v: torch.scatter_add(x, 0, i[:, None].expand(-1, 3), v),
        **{
            f"index_reduce {how}": lambda x, i, v, how=how: torch.index_reduce(x, 0, i, v, how)
            for how in REDUCTIONS[1:]
        },
    }
    count = Dim("count", min=1, max=300)
    calls = [(torch.randn(10, 3), torch.randint(0, 10, (n,)), torch.randn(n, 3)) for n in (12, 1, 300)]
    check(functions, calls, tmp_path, (None, {0: count}, {0: count}))


def test_not_finite(tmp_path: Path) -> None:
    inf, nan = float("inf"), float("nan")
    x = torch.tensor([1.0, inf, -inf, nan, 2.0, 3.0])
    i = torch.tensor([0, 0, 1, 2, 4, 4, 5, 5])
    v = torch.tensor([nan, 1.0, -inf, 5.0, inf, -inf, inf, 2.0])
    check(forms(0), [(x, i, v)], tmp_path)
