"""``executorch-ggml diff`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm
from test_cli import cli, failure

pytestmark = pytest.mark.filterwarnings("ignore")

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return torch.relu(self.fc(x))

model = Net()

def example_inputs():
    return (torch.ones(2, 8),)

dynamic_shapes = {"x": {0: torch.export.Dim("n", min=1, max=8)}}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(MODEL)
    return path


def test_model(model: Path, tmp_path: Path) -> None:
    result = cli("diff", model)
    assert result.exit_code == 0, result.output
    assert "all within tolerance" in result.stdout
    assert "aten.relu.default" in result.stdout
    assert "net.py:11" in result.stdout
    np.save(tmp_path / "x.npy", np.full((5, 8), 2, np.float32))
    result = cli("diff", model, "--inputs", tmp_path / "x.npy", "--json", "--worst", "20")
    report = json.loads(result.stdout)
    assert report["ok"]
    assert report["first"] is None
    assert [5, 4] in [row["shape"] for row in report["worst"]]


def test_over_tolerance(model: Path) -> None:
    text = MODEL.replace("nn.Linear(8, 4)", "nn.Linear(1024, 64)").replace("ones(2, 8)", "randn(2, 1024)")
    text += "\nfrom executorch_ggml import GgmlPartitioner, GgmlQuantConfig\n"
    model.write_text(text + 'partitioner = GgmlPartitioner(quant=GgmlQuantConfig("Q8_0"))\n')
    assert cli("diff", model).exit_code == 0
    # Activations are rounded to 8 bits, which a limit for float32 does not allow.
    result = cli("diff", model, "--nmse", "1e-12", "--peak", "1e-9")
    assert result.exit_code == 1, result.output
    assert "over tolerance; the first:" in result.stdout
    assert "aten.relu.default" in result.stdout
    assert "return torch.relu(self.fc(x))" in result.stdout


def test_pte(mlp: Mlp, tiny_llm: TinyLlm) -> None:
    assert cli("diff", mlp.pte, "--seed", "3").exit_code == 0
    report = json.loads(cli("diff", tiny_llm.pte, "-g", tiny_llm.gguf, "--json").stdout)
    assert report["ok"]
    assert report["compared"] > 20


def test_exported_program(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(4, 3), (torch.ones(2, 4),)), path)
    assert cli("diff", path).exit_code == 0


def test_unusable(model: Path, mlp: Mlp, tmp_path: Path) -> None:
    assert "missing.py" in failure(cli("diff", tmp_path / "missing.py"), 2)
    assert "missing.pte" in failure(cli("diff", tmp_path / "missing.pte"), 2)
    assert "2 parameters" in failure(cli("diff", model, "-g", mlp.gguf), 2)
    assert "a model has its source" in failure(cli("diff", model, "--etrecord", model), 2)
    for text, message in (
        ("model = 3", "'model' is of type int"),
        ("import torch\nmodel = torch.nn.ReLU()", "does not define 'example_inputs'"),
        ("raise RuntimeError('on purpose')", "RuntimeError: on purpose"),
        ("def broken(:", "SyntaxError"),
        ("import torch\nmodel = torch.nn.Linear(3, 3)\nexample_inputs = (torch.ones(4),)", "torch.export refuses"),
    ):
        model.write_text(text)
        assert message in failure(cli("diff", model), 2)
    (tmp_path / "x.bin").write_bytes(b"")
    assert "neither a .py nor a .pt2" in failure(cli("diff", tmp_path / "x.bin"), 2)
    assert cli("diff").exit_code == 2
