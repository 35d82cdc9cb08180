"""Sizes of dynamic dimensions: where they come from, and the smallest that a lowered program accepts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner, Program, ShapeError, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import ReferenceExecutor, delegates
from executorch_ggml.aot.symbols import SymbolBinder
from executorch_ggml.ir.builder import Builder, DType, GgmlType
from executorch_ggml.ir.layout_check import layout_problem
from executorch_ggml.ir.serialize import deserialize

pytestmark = pytest.mark.filterwarnings("ignore")

Function = Callable[..., torch.Tensor]
PICKED = torch.tensor([[0, 0, 0], [1, 1, 1]])


class Calls(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.function(*args)


def lower(function: Function, shapes: list[tuple[int, ...]], dynamic: list[dict[int, Any]]) -> Any:
    args = tuple(torch.randn(s) for s in shapes)
    program = export(Calls(function), args, dynamic_shapes=(tuple(dynamic),))
    return to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner())


def compare(function: Function, edge: Any, folder: Path, *sizes: list[tuple[int, ...]]) -> None:
    """On the native library and on the interpreter; the library is what refuses sizes that are too small."""
    path = folder / "model.pte"
    path.write_bytes(edge.to_executorch().buffer)
    reference = ReferenceExecutor(edge.exported_program())
    with Program(path, threads=1) as program:
        for shapes in sizes:
            args = tuple(torch.randn(s) for s in shapes)
            want = function(*args)
            torch.testing.assert_close(program(*args)[0], want)
            torch.testing.assert_close(reference(*args)[0].to(want.dtype), want)


@pytest.mark.parametrize("declared", [1, 2])
@pytest.mark.parametrize(
    "function, dim, shape",
    [
        pytest.param(lambda x: torch.sigmoid(x).select(-1, 1), 1, (3, 4), id="select"),
        pytest.param(lambda x: (x * 2).gather(0, PICKED) * 2, 0, (4, 3), id="gather"),
        pytest.param(lambda x: (x * 2)[PICKED] * 2, 0, (4, 3), id="index"),
    ],
)
def test_a_graph_that_needs_two_entries(
    function: Function, dim: int, shape: tuple[int, ...], declared: int, tmp_path: Path
) -> None:
    """torch exports it with a minimum of 1 as well, and names 2 in either case."""

    def sized(n: int) -> list[tuple[int, ...]]:
        return [tuple(n if d == dim else size for d, size in enumerate(shape))]

    edge = lower(function, [shape], [{dim: Dim("n", min=declared, max=7)}])
    compare(function, edge, tmp_path, sized(2), sized(3), sized(7))
    with Program(tmp_path / "model.pte", threads=1) as program, pytest.raises(ShapeError, match=r"accepts 2\.\.7"):
        program(torch.randn(sized(1)[0]))


def test_one_dimension_at_one_and_another_at_two(tmp_path: Path) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x).select(-1, 1) * y.sum()

    edge = lower(function, [(3, 4), (5,)], [{1: Dim("n", max=7)}, {0: Dim("m", max=9)}])
    compare(function, edge, tmp_path, [(3, 2), (1,)], [(3, 7), (9,)])


def test_a_multiple_of_a_symbol(tmp_path: Path) -> None:
    """No input has the bare symbol as a dimension: the runtime solves for it."""

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x).view(3, 2, -1).sum(1)

    edge = lower(function, [(3, 4)], [{1: 2 * Dim("n", min=1, max=7)}])
    compare(function, edge, tmp_path, [(3, 2)], [(3, 6)], [(3, 14)])
    with Program(tmp_path / "model.pte", threads=1) as program, pytest.raises(ShapeError, match="steps of 2"):
        program(torch.randn(3, 5))


def test_a_delegate_whose_only_size_is_an_expression(tmp_path: Path) -> None:
    """The first delegate halves the length, the host has no delegated floor_divide, the second sees n // 2 only."""

    def function(x: torch.Tensor) -> torch.Tensor:
        halved = torch.avg_pool1d(torch.sigmoid(x), 2, 2)
        return torch.sigmoid(torch.floor_divide(halved, 0.25)) * 2

    edge = lower(function, [(1, 4, 6)], [{2: Dim("n", min=4, max=9)}])
    assert len(delegates(edge.exported_program())) == 2
    compare(function, edge, tmp_path, [(1, 4, 4)], [(1, 4, 7)], [(1, 4, 9)])


class TestLeast:
    """The minimum that is written, of one input [s, 3] with a declared minimum of 2 that may become 1."""

    def minimum(self, use: Callable[[Builder, Any], Any], low: int = 2) -> int:
        import sympy
        from torch.utils._sympy.value_ranges import ValueRanges

        s = sympy.Symbol("s", positive=True, integer=True)
        b = Builder("least")
        x = b.add_input("x", (s, 3), DType.FLOAT32)
        SymbolBinder(b, {s: ValueRanges(low, 7)}).bind([(s, ("FromInputDim", {"input": 0, "dim": 0}))])
        b.add_output("y", use(b, b.f32(x)))
        graph = deserialize(b.serialize())
        assert layout_problem(graph, [graph.symbols[0].min]) == ""
        return int(graph.symbols[0].min)

    @pytest.mark.parametrize("low", [0, 1, 2])
    def test_follows_from_the_graph(self, low: int) -> None:
        assert self.minimum(lambda b, x: b.select(x, 0, 0), low) == 1
        assert self.minimum(lambda b, x: b.select(x, 0, 1), low) == 2

    def test_is_the_users_above_two(self) -> None:
        assert self.minimum(lambda b, x: b.select(x, 0, 0), 3) == 3

    def test_tables_count(self) -> None:
        import numpy as np

        def rows(last: int) -> Callable[[Builder, Any], Any]:
            ids = np.array([0, last], dtype=np.int32)
            return lambda b, x: b.get_rows(x, b.constant(ids, DType.INT32, GgmlType.I32))

        assert self.minimum(rows(0)) == 1
        assert self.minimum(rows(1)) == 2

    def test_empty_results_count(self) -> None:
        assert self.minimum(lambda b, x: b.slice(x, 0, 1, x.shape[0] - 1)) == 2
