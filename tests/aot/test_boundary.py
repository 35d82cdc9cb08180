"""Cheap nodes live on the side of the boundary that moves fewer bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import export
from torch.fx import Graph, Node

from executorch_ggml import to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import ReferenceExecutor
from executorch_ggml.aot.boundary import FEWER_BYTES, settle
from executorch_ggml.aot.dry_run import Decisions
from executorch_ggml.aot.explanation import Explanation, describe
from executorch_ggml.aot.partitioner import GgmlPartitioner

pytestmark = pytest.mark.filterwarnings("ignore")
_aten = torch.ops.aten
ROWS, SMALL, LARGE = 4, 8, 64
F32 = 4


class Model(nn.Module):
    """Two products with something in between."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], last: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(SMALL, SMALL), nn.Linear(last, 2)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.between(self.first(x)))


def lowered(between: Callable[[torch.Tensor], torch.Tensor], last: int) -> tuple[Explanation, list[str]]:
    """The report, and what stays on the host, in order. The lowered program computes what the model does."""
    torch.manual_seed(0)
    model, x = Model(between, last).eval(), torch.randn(ROWS, SMALL)
    partitioner = GgmlPartitioner()
    reports: list[Explanation] = []
    real = partitioner.partition

    def partition(program: Any) -> Any:
        result = real(program)
        reports.append(describe(program, partitioner.decisions))
        return result

    partitioner.partition = partition  # type: ignore[method-assign]
    program = to_edge_rewrite_and_lower(export(model, (x,)), partitioner=partitioner).exported_program()
    assert nmse(ReferenceExecutor(program)(x)[0], model(x)) < 1e-12
    return reports[0], [n.op for n in reports[0].nodes if not n.delegated]


def crossing(report: Explanation) -> tuple[int, int]:
    """Bytes that leave the first delegate, and that enter the second."""
    first, second = report.partitions
    return first.bytes_out, second.bytes_in


def test_an_expand_in_front_of_a_host_operator_stays_there() -> None:
    report, host = lowered(lambda h: torch.erf(h[:, :, None].expand(-1, -1, LARGE)).sum(-1), SMALL)
    assert crossing(report)[0] == ROWS * SMALL * F32
    assert host == ["aten.expand_copy.default", "aten.erf.default"]
    assert len(report.partitions) == 2
    (reason,) = {n.reason for n in report.nodes if "expand" in n.op}
    assert "fewer bytes" in reason


def test_a_slice_behind_a_host_operator_stays_there() -> None:
    report, host = lowered(lambda h: torch.erf(torch.cat([h] * 8, -1))[:, :3], 3)
    # The concatenation is no node that may choose; what it makes has to cross.
    assert crossing(report) == (ROWS * SMALL * 8 * F32, ROWS * 3 * F32)
    assert host == ["aten.erf.default", "aten.slice_copy.Tensor"]


def test_a_narrowing_node_in_front_and_a_widening_one_behind_are_delegated() -> None:
    report, host = lowered(lambda h: torch.erf(h[:, :2])[:, :, None].expand(-1, -1, 5).reshape(ROWS, 10), 10)
    assert crossing(report) == (ROWS * 2 * F32, ROWS * 2 * F32)
    assert host == ["aten.erf.default"]


def test_a_conversion_goes_where_the_smaller_type_crosses() -> None:
    report, host = lowered(lambda h: torch.erf(h.to(torch.float64)).to(torch.float32), SMALL)
    assert crossing(report) == (ROWS * SMALL * F32, ROWS * SMALL * F32)
    conversion = "dim_order_ops._to_dim_order_copy.default"
    assert host == [conversion, "aten.erf.default", conversion]
    report, host = lowered(lambda h: torch.erf(h.to(torch.float16)).to(torch.float32), SMALL)
    assert crossing(report) == (ROWS * SMALL * 2, ROWS * SMALL * 2)
    assert host == ["aten.erf.default"]


def test_a_node_that_both_sides_read_is_moved_only_if_that_pays() -> None:
    """The expanded tensor is needed in the delegate as well: on the host it would have to come back."""

    def between(h: torch.Tensor) -> torch.Tensor:
        wide = h[:, :, None].expand(-1, -1, LARGE)
        return (torch.erf(wide) + torch.relu(wide)).sum(-1)

    report, host = lowered(between, SMALL)
    assert host == ["aten.erf.default"]
    assert crossing(report)[0] == ROWS * SMALL * LARGE * F32


def test_a_chain_moves_together() -> None:
    def between(h: torch.Tensor) -> torch.Tensor:
        wide = h[:, :, None].expand(-1, -1, LARGE).transpose(1, 2).reshape(ROWS, LARGE * SMALL)
        return torch.erf(wide).reshape(ROWS, SMALL, LARGE).sum(-1)

    report, host = lowered(between, SMALL)
    assert crossing(report)[0] == ROWS * SMALL * F32
    assert host == [
        "aten.expand_copy.default",
        "aten.permute_copy.default",
        "dim_order_ops._clone_dim_order.default",
        "aten.view_copy.default",
        "aten.erf.default",
    ]


def test_results_and_inputs_of_the_program_do_not_count() -> None:
    torch.manual_seed(0)

    class Ends(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hidden = torch.relu(x[:, :2])
            return hidden[:, :, None].expand(-1, -1, LARGE), torch.erf(hidden)

    partitioner = GgmlPartitioner()
    x = torch.randn(ROWS, SMALL)
    program = to_edge_rewrite_and_lower(export(Ends(), (x,)), partitioner=partitioner).exported_program()
    assert partitioner.decisions is not None
    assert [n.name for n, reason in partitioner.decisions.reasons.items() if reason] == ["aten_erf_default"]
    for got, want in zip(ReferenceExecutor(program)(x), Ends()(x), strict=True):
        assert torch.equal(got, want)


def test_what_was_moved_runs(tmp_path: Path) -> None:
    """ExecuTorch's kernels have every operator that may be moved."""
    from shared_models import lower_to_file

    from executorch_ggml import Program

    def between(h: torch.Tensor) -> torch.Tensor:
        wide = h[:, :, None].expand(-1, -1, LARGE).permute(0, 2, 1).repeat(1, 1, 2)
        back = torch.erf(wide.to(torch.float64).clone()).to(torch.float32)
        return back.select(1, 3).unsqueeze(0).transpose(0, 1).squeeze(1)[:, :6].reshape(ROWS, 6)

    torch.manual_seed(0)
    model, x = Model(between, 6).eval(), torch.randn(ROWS, SMALL)
    with Program(lower_to_file(model, (x,), tmp_path / "moved.pte")) as program:
        (got,) = program(x)
    assert nmse(got, model(x)) < 1e-12
    _, host = lowered(between, 6)
    conversion = "dim_order_ops._to_dim_order_copy.default"
    before = ["aten.expand_copy.default", "aten.permute_copy.default", "aten.repeat.default", conversion]
    behind = [conversion, "aten.select_copy.int", "aten.unsqueeze_copy.default", "aten.permute_copy.default"]
    behind += ["aten.squeeze_copy.dims", "aten.slice_copy.Tensor"]
    assert host == [*before, "aten.erf.default", *behind]


def random_graph(seed: int) -> tuple[list[Node], Decisions]:
    """Nodes that have the choice, delegated ones and host ones, each reading one or two earlier values."""
    random = Random(seed)
    graph = Graph()
    nodes = [graph.placeholder("x"), graph.placeholder("y")]
    decisions = Decisions()
    for _ in range(random.randint(6, 12)):
        kind = random.choice(("free", "free", "host", "delegate"))
        target = {"free": _aten.view_copy.default, "host": _aten.erf.default, "delegate": _aten.relu.default}[kind]
        node = graph.call_function(target, tuple(random.sample(nodes, random.randint(1, 2))))
        decisions.reasons[node] = "not ours" if kind == "host" else ""
        nodes.append(node)
    for node in nodes:
        node.meta["val"] = torch.empty(random.randint(1, 9), dtype=torch.uint8, device="meta")
    return nodes, decisions


def cost(nodes: list[Node], host: set[Node]) -> int:
    """Bytes that cross when these nodes run on the host and the other call nodes in a delegate."""
    total = 0
    for node in nodes:
        if node.op == "call_function":
            other = any((user in host) != (node in host) for user in node.users)
            total += node.meta["val"].numel() if other else 0
    return total


@pytest.mark.parametrize("seed", range(60))
def test_no_other_choice_moves_fewer_bytes(seed: int) -> None:
    nodes, decisions = random_graph(seed)
    free = [n for n in nodes if n.target is _aten.view_copy.default]
    fixed = {n for n in nodes if n.target is _aten.erf.default}
    best = min(
        (cost(nodes, fixed | set(chosen)), len(chosen))
        for count in range(len(free) + 1)
        for chosen in itertools.combinations(free, count)
    )
    moved = settle(nodes, decisions, lambda node: False)
    connected = [n for n in moved if decisions.reasons[n] == FEWER_BYTES]
    assert set(moved) <= set(free)
    assert cost(nodes, fixed | set(moved)) == best[0]
    # Ties stay delegated; only groups that no delegate touches go to the host without need.
    assert len(connected) <= best[1]
