"""``executorch-ggml explain`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_cli import cli, failure

from executorch_ggml.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.b(torch.FUNCTION(self.a(x)))

model = Net
example_inputs = lambda: (torch.ones(2, 8),)
"""


def write(folder: Path, function: str) -> Path:
    path = folder / "net.py"
    path.write_text(MODEL.replace("FUNCTION", function).replace("model = Net", "model = Net()"))
    return path


def test_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "relu")
    result = cli("explain", path, "--strict", "--nodes")
    assert result.exit_code == 0, result.output
    assert "3 of 3 operators run on ggml, in 1 delegate: 100.0% of the FLOPs; 0 bytes cross" in result.stdout
    assert "net.py:11" in result.stdout


def test_strict(tmp_path: Path) -> None:
    path = write(tmp_path, "erf")
    result = cli("explain", path)
    assert result.exit_code == 0, result.output
    assert "1 x aten.erf.default: no lowering for this operator (hot)" in result.stdout
    assert f"{path}:11" in result.stdout
    message = failure(cli("explain", path, "--strict"), 1)
    assert "the hot path is not all delegated, an operator" in message
    report = json.loads(cli("explain", path, "--json").stdout)
    assert report["bytes_crossing"] == 2 * 2 * 8 * 4
    assert [n["delegated"] for n in report["nodes"]] == [True, False, True]


def test_unusable(tmp_path: Path) -> None:
    assert "missing.py" in failure(cli("explain", tmp_path / "missing.py"), 2)
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    assert "broken.pt2" in failure(cli("explain", tmp_path / "broken.pt2"), 2)


def test_a_device_runs_all_or_its_refusals_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "relu")
    report = json.loads(cli("explain", path, "--device", "cpu", "--json").stdout)["on_device"]
    assert report["refused"] == []
    assert report["splits"] == 1
    assert report["nodes"] > 0
    assert "on cpu: all of every delegate runs there" in cli("explain", path, "--device", "cpu").stdout
    assert "cud" in failure(cli("explain", path, "--device", "cuda:77"), 2)

    def refuse(*_: object, **__: object) -> None:
        raise UnsupportedError("m.pte, method 'forward': device 'cuda' cannot run node 2 (POOL_1D), node 5 (ROLL); use")

    monkeypatch.setattr("executorch_ggml.runtime.program.Program.execute", refuse)
    lines = cli("explain", path, "--device", "cpu").stdout.splitlines()
    assert lines[-3:] == ["on cpu: it cannot run", "  node 2 (POOL_1D)", "  node 5 (ROLL)"]
