"""explain(): reasons, places, bytes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from executorch_ggml.explain import explain

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = torch.erf(self.a(x))  # the line that the report must name
        return self.b(hidden), n + 1


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
