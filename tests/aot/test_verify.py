"""``to_edge_rewrite_and_lower(..., verify=inputs)``: what was lowered is run once and held against eager."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram, export

from executorch_ggml import InvalidArgumentError, MismatchError, UnloadableError, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        waves = torch.sin(self.a(x))  # the line that a wrong sine must name
        return torch.erf(self.a(waves)) / 0 * 0, {"waves": waves * scale, "half": waves.half()}


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    torch.manual_seed(0)
    return export(Net().eval(), (torch.randn(2, 4),), {"scale": torch.ones(4)})


def test_a_right_program_passes_and_can_be_used(program: ExportedProgram) -> None:
    x, nan = torch.randn(2, 4), torch.full((2, 4), float("nan"))
    edge = to_edge_rewrite_and_lower(program, verify=[(x, torch.ones(4)), (x * 10, nan[0]), ((nan,), {"scale": x[0]})])
    assert edge.to_executorch().buffer
    methods = {"one": program, "two": program}
    to_edge_rewrite_and_lower(methods, verify={"two": True})
    to_edge_rewrite_and_lower(methods, verify=True)


def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch_ggml.aot import lower_nodes
    from executorch_ggml.ir.builder import UnaryKind

    real = lower_nodes.lookup
    entry = real(torch.ops.aten.sin.default)
    assert entry is not None
    wrong = replace(entry, lower=lambda b, n: b.unary(UnaryKind.COS, n.tensor("self")))
    monkeypatch.setattr(lower_nodes, "lookup", lambda target: wrong if "sin." in str(target) else real(target))


def test_the_first_wrong_operation_is_named(program: ExportedProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    with pytest.raises(MismatchError, match=r"result 1 of go is not what eager computes.*aten\.sin\.default") as caught:
        to_edge_rewrite_and_lower({"go": program}, verify=True)
    first = caught.value.report.first
    assert "the line that a wrong sine must name" in first.code
    assert str(first.source) in str(caught.value)
    to_edge_rewrite_and_lower({"go": program})  # nobody asked


def test_an_infinity_is_no_large_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch_ggml.analysis.diff import Tolerance
    from executorch_ggml.analysis.verify import _difference

    inf, nan, tolerance = float("inf"), float("nan"), Tolerance(1e-8, 1e-3)
    same = torch.tensor([inf, -inf, nan, 1.0])
    assert _difference(same.numpy(), same, tolerance) == ""
    for other in ([1e6, -inf, nan, 1.0], [inf, inf, nan, 1.0], [inf, -inf, 0.0, 1.0], [inf, -inf, nan, 1.1]):
        assert "off by themselves" in _difference(torch.tensor(other).numpy(), same, tolerance)
    assert "type" in _difference(same.double().numpy(), same, tolerance)
    assert "shape" in _difference(same[:2].numpy(), same, tolerance)


@pytest.mark.parametrize(
    ("verify", "message"),
    [
        ((torch.ones(2, 4),), "takes 2 inputs, 1 were given"),
        ([torch.ones(2, 4)], "list of tuples"),
        ({"other": True}, "no method other"),
        ((torch.ones(2, 5), torch.ones(4)), "cannot be run in eager"),
    ],
)
def test_inputs_that_cannot_be_used(program: ExportedProgram, verify: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        to_edge_rewrite_and_lower(program, verify=verify)


def test_weights_without_data() -> None:
    with torch.device("meta"):
        net = nn.Linear(4, 4)
    with pytest.raises(InvalidArgumentError, match=r"weight of forward has no data"):
        to_edge_rewrite_and_lower(export(net, (torch.ones(1, 4, device="meta"),)), verify=True)


def test_inputs_that_the_program_refuses(program: ExportedProgram) -> None:
    with pytest.raises(UnloadableError, match="forward refuses the inputs"):
        to_edge_rewrite_and_lower(program, verify=(torch.ones(3, 4), torch.ones(4)))  # exported for 2 rows


def test_lowering_alone_loads_no_library() -> None:
    script = (
        "import sys, torch, executorch_ggml as e\n"
        "e.to_edge_rewrite_and_lower(torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),)))\n"
        "assert 'libexecutorch_ggml' not in open('/proc/self/maps').read()"
    )
    if sys.platform.startswith("linux"):
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120, stderr=subprocess.DEVNULL)
