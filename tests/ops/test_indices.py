"""Positions: from the end where torch counts so, and refused where torch raises; never dropped, never other data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim, export

from executorch_ggml import Program, register_backend, to_edge_rewrite_and_lower
from executorch_ggml.errors import GgmlError

pytestmark = pytest.mark.filterwarnings("ignore")

Function = Callable[..., torch.Tensor]

ROWS, COLUMNS, COUNT = 5, 4, 3
X = torch.arange(20.0).reshape(ROWS, COLUMNS) - 7.5


def _put(x: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
    result = x.clone()
    result[n] = torch.ones(COUNT, COLUMNS)
    return result


def _wide(n: torch.Tensor) -> torch.Tensor:
    return n[:, None].expand(-1, COLUMNS)


OPS: dict[str, Function] = {
    "x[n]": lambda x, n: x[n] * 2,
    "x[:, n]": lambda x, n: x.t().contiguous()[:, n] * 2,
    "x[n, n % 4]": lambda x, n: x[n, n % 4] * 2,
    "x[n, :, n]": lambda x, n: x[:, None, :].expand(-1, 2, -1)[n, :, n.clamp(-4, 3)] * 2,
    "x[n] of integers": lambda x, n: x.to(torch.int64)[n],
    "x[n] = v": _put,
    "x[n, 1] = v": lambda x, n: torch.index_put(x, (n, torch.tensor(1)), torch.tensor(9.0)),
    "x[n] += v": lambda x, n: torch.index_put(x, (n,), torch.ones(COUNT, COLUMNS), accumulate=True),
    "x[n] += v, int64": lambda x, n: torch.index_put(x.long(), (n,), torch.ones(COLUMNS, dtype=torch.int64), True),
    "index_select": lambda x, n: torch.index_select(x, 0, n) * 2,
    "gather": lambda x, n: torch.gather(x, 0, _wide(n)) * 2,
    "take_along_dim": lambda x, n: torch.take_along_dim(x, n[:, None], 0) * 2,
    "embedding": lambda x, n: F.embedding(n, x) * 2,
    "embedding_bag": lambda x, n: F.embedding_bag(n[None], x, mode="sum"),
    "index_copy": lambda x, n: torch.index_copy(x, 0, n, torch.ones(COUNT, COLUMNS)),
    "index_copy, int64": lambda x, n: torch.index_copy(x.long(), 0, n, torch.ones(COUNT, COLUMNS, dtype=torch.int64)),
    "index_add": lambda x, n: torch.index_add(x, 0, n, torch.ones(COUNT, COLUMNS), alpha=2),
    "index_add, int64": lambda x, n: torch.index_add(x.long(), 0, n, torch.ones(COUNT, COLUMNS, dtype=torch.int64)),
    "index_fill": lambda x, n: torch.index_fill(x, 0, n, 2.5),
    "scatter": lambda x, n: torch.scatter(x, 0, _wide(n), torch.ones(COUNT, COLUMNS)),
    "scatter, number": lambda x, n: torch.scatter(x, 0, _wide(n), 7.0),
    "scatter_add": lambda x, n: torch.scatter_add(x, 0, _wide(n), torch.ones(COUNT, COLUMNS)),
    "scatter_reduce": lambda x, n: torch.scatter_reduce(x, 0, _wide(n), torch.ones(COUNT, COLUMNS), "amax"),
    "one_hot": lambda x, n: F.one_hot(n, ROWS).float() @ x,
    "one_hot, int64": lambda x, n: F.one_hot(n, ROWS),
}

GOOD = ([0, 4, 2], [3, 3, 1])
BAD = ([0, 5, 2], [0, 2**40, 2], [1, -6, 1], [1, -(2**40), 1], [0, -1, 2], [2, -5, 2])


class Wrapped(torch.nn.Module):
    def __init__(self, fn: Function) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> Any:
        return self.fn(x, n)


@pytest.mark.parametrize("name", OPS)
def test_positions_as_torch_takes_them(name: str, tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    module = Wrapped(OPS[name])
    program = to_edge_rewrite_and_lower(export(module, (X, torch.tensor(GOOD[0])), strict=False)).to_executorch()
    path = tmp_path / "m.pte"
    path.write_bytes(program.buffer)
    register_backend()
    method = Runtime.get().load_program(program.buffer).load_method("forward")
    with Program(path, threads=1) as ours:
        for given in (*GOOD, *BAD):
            n = torch.tensor(given)
            try:
                want = module(X, n)
            except (IndexError, RuntimeError):
                with pytest.raises(GgmlError):
                    ours.execute("forward", [X, n])
                with pytest.raises(RuntimeError):
                    method.execute([X, n])
                continue
            assert torch.equal(torch.as_tensor(ours.execute("forward", [X, n])[0]), want), given
            assert torch.equal(method.execute([X, n])[0], want), given


def test_dynamic_number_of_positions_and_rows(tmp_path: Path) -> None:
    module = Wrapped(lambda x, n: (x[n] * 2, torch.index_add(x, 0, n.abs() % 2, x[n])))
    sizes = ({0: Dim("rows", min=2, max=9)}, {0: Dim("count", min=1, max=9)})
    program = to_edge_rewrite_and_lower(export(module, (X, torch.tensor(GOOD[0])), dynamic_shapes=sizes))
    path = tmp_path / "m.pte"
    path.write_bytes(program.to_executorch().buffer)
    with Program(path, threads=1) as ours:
        for rows, given in ((5, [4, -5]), (2, [-2, 1, 0, 0, -1]), (9, [8])):
            x, n = torch.randn(rows, COLUMNS), torch.tensor(given)
            for got, want in zip(ours.execute("forward", [x, n]), module(x, n), strict=True):
                assert torch.allclose(torch.as_tensor(got), want)
        with pytest.raises(GgmlError):
            ours.execute("forward", [torch.randn(3, COLUMNS), torch.tensor([3])])


class Writes(torch.nn.Module):
    """Parts of a tensor written in place, by every kind of place, of floats and of integers."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> list[torch.Tensor]:
        results = []
        for source in (x, (x * 3).long()):
            y = source.clone()
            y[:, 0:4:2] = y[:, 1:3]
            y[y > 3] = 0
            y[y[:, 0] > 4] = -1
            y[1:4:2, ::3] = 7
            y.diagonal(1).fill_(3)
            y[n] = y[n] + 1
            y[0, -1] = 5
            y[:, 1] *= 2
            results += [y, torch.diagonal_scatter(source, source[0], -1), source.clone().fill_diagonal_(7)]
        return [*results, x[x.argmax(1) - 3], x[x[:3].argmin(1), -1 - x[:3].argmax(1)]]


def test_places_that_are_written_or_computed(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    calls = [(torch.randn(ROWS, COLUMNS, generator=generator) * 5, torch.tensor(n)) for n in ([0, 4, -2], [1, 3, 2])]
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Writes(), calls[0])).to_executorch().buffer)
    with Program(path, threads=1) as ours:
        for args in calls:
            for got, want in zip(ours.execute("forward", list(args)), Writes()(*args), strict=True):
                assert torch.equal(torch.as_tensor(got), want)


class AtLargest(torch.nn.Module):
    """Rows read where a search over the same dynamic dimension found them."""

    def forward(self, x: torch.Tensor, scores: torch.Tensor) -> list[torch.Tensor]:
        rows = torch.arange(x.shape[0])
        top = torch.topk(scores, 2)[1]
        return [
            x[rows, scores.argmax(1)],
            x[rows, scores.min(1)[1]],
            torch.gather(x, 1, top.unsqueeze(-1).expand(-1, -1, 3)),
        ]


def test_places_of_a_search_over_a_dynamic_dimension(tmp_path: Path) -> None:
    sizes = {0: Dim("n", min=1, max=4), 1: Dim("t", min=2, max=32)}
    edge = to_edge_rewrite_and_lower(
        torch.export.export(AtLargest(), (torch.randn(2, 9, 3), torch.randn(2, 9)), dynamic_shapes=(sizes, sizes))
    )
    left = [n for n in edge.exported_program().graph.nodes if n.op == "call_function" and "gather" in str(n.target)]
    assert not left
    path = tmp_path / "m.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        for n, t in ((1, 2), (3, 32), (4, 7)):
            x, scores = torch.randn(n, t, 3), torch.randn(n, t)
            for got, want in zip(program(x, scores), AtLargest()(x, scores), strict=True):
                assert torch.equal(torch.as_tensor(got), want)
