"""explain(): reasons, places, bytes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from executorch_ggml import GgmlPartitioner, InvalidArgumentError, UndelegatedError, to_edge_rewrite_and_lower
from executorch_ggml.analysis.explain import explain

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.erf(self.a(x))  # the line that the report must name
        return self.b(hidden), n + 1


def test_a_module_that_torch_refuses() -> None:
    model = Model().train()
    with pytest.raises(InvalidArgumentError, match=r"Model: torch\.export refuses the model: "):
        explain(model, (torch.randn(3, 9), torch.tensor([1])))
    assert model.training
    assert explain(model, (torch.randn(3, 8), torch.tensor([1]))).delegated == 2
    assert model.training


def test_report() -> None:
    report = explain(Model(), (torch.randn(3, 8), torch.tensor([1])))
    assert report.delegated == 2
    assert len(report.partitions) == 2
    erf = next(n for n in report.nodes if "erf" in n.op)
    assert not erf.delegated
    assert erf.reason == "no lowering for this operator"
    path, _, line = erf.source.rpartition(":")
    with open(path) as file:
        assert "the line that the report must name" in file.read().splitlines()[int(line) - 1]
    add = next(n for n in report.nodes if "add" in n.op)
    assert add.reason == "int64 arithmetic stays with ExecuTorch: values may exceed 2^24"
    first = report.partitions[0]
    assert (first.bytes_in, first.bytes_out) == (3 * 8 * 4, 3 * 16 * 4)
    text = str(report)
    assert "2 of 4 operators" in text
    assert "1 x aten.erf.default: no lowering for this operator" in text
    assert "test_explain.py" in text


def test_a_module_needs_inputs() -> None:
    with pytest.raises(TypeError, match="example inputs"):
        explain(Model())


def test_bytes_and_shares_of_each_node() -> None:
    report = explain(Model(), (torch.randn(3, 8), torch.tensor([1])))
    by_name = {n.op.removeprefix("aten.").partition(".")[0]: n for n in report.nodes if n.flops != 2 * 3 * 16 * 8}
    products = [n for n in report.nodes if "linear" in n.op]
    # The first product's result leaves its delegate, the erf's enters the next; results of the program do not count.
    assert [n.bytes_crossing for n in products] == [3 * 16 * 4, 0]
    assert by_name["erf"].bytes_crossing == 3 * 16 * 4
    assert by_name["add"].bytes_crossing == 0
    assert report.bytes_crossing == 2 * 3 * 16 * 4
    assert [n.flops for n in products] == [2 * 3 * 16 * 8] * 2
    assert sum(n.share for n in report.nodes) == pytest.approx(1.0)
    assert products[0].share == pytest.approx(products[0].flops / sum(n.flops for n in report.nodes))
    assert "bytes cross" in str(report)
    table = report.table().splitlines()
    assert len(table) == 1 + len(report.nodes)
    assert any("aten.erf.default" in row and "ExecuTorch, hot" in row and "test_explain.py:" in row for row in table)


def test_a_result_that_two_delegates_and_the_host_read_is_counted_for_each_way() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.a(x)
            return self.b(torch.erf(hidden)) + hidden

    report = explain(Net(), (torch.randn(3, 8),))
    first = next(n for n in report.nodes if "linear" in n.op)
    assert first.bytes_crossing == 2 * 3 * 8 * 4  # out of the first delegate, and into the second
    assert report.bytes_crossing == 3 * 3 * 8 * 4


def test_strict_refuses_what_costs_time() -> None:
    x, n = torch.randn(3, 8), torch.tensor([1])
    with pytest.raises(UndelegatedError, match="no lowering for this operator") as caught:
        explain(Model(), (x, n), strict=True)
    # The erf stands between two delegates; the integers at the end of the program cost nothing.
    assert [node.op for node in caught.value.nodes] == ["aten.erf.default"]
    assert "test_explain.py:" in str(caught.value)
    program = torch.export.export(Model(), (x, n))
    with pytest.raises(UndelegatedError, match=r"aten\.erf\.default"):
        to_edge_rewrite_and_lower(program, strict=True)
    with pytest.raises(UndelegatedError):
        to_edge_rewrite_and_lower(torch.export.export(Model(), (x, n)), partitioner=GgmlPartitioner(strict=True))
    with pytest.raises(InvalidArgumentError, match="give strict to the partitioner"):
        to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner(), strict=True)


def test_strict_accepts_what_costs_nothing() -> None:
    class Cold(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(64, 64)

        def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.fc(x), n * 3

    report = explain(Cold(), (torch.randn(8, 64), torch.tensor([2])), strict=True)
    assert report.delegated < len(report.nodes)
    assert report.hot == ()


def test_strict_refuses_a_large_share_at_the_end_of_the_program() -> None:
    class Tail(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(torch.relu(x))

    with pytest.raises(UndelegatedError) as caught:
        explain(Tail(), (torch.randn(8, 64),), strict=True)
    assert [node.share for node in caught.value.nodes] == [0.5]


def test_as_dict_is_json() -> None:
    import json

    report = json.loads(json.dumps(explain(Model(), (torch.randn(3, 8), torch.tensor([1]))).as_dict()))
    assert (report["operators"], report["delegated"], len(report["partitions"])) == (4, 2, 2)
    assert report["hot"] == ["aten_erf_default"]
