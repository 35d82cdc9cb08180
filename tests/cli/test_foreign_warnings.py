"""No warning of another package stands on the user's screen: neither on import nor before an error of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.make_gguf import write_gguf


def stderr_of(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False).stderr


@pytest.mark.parametrize("name", ["GgmlPartitioner", "to_edge_rewrite_and_lower", "GGUFModule"])
def test_imports_are_silent(name: str) -> None:
    assert stderr_of("-c", f"from executorch_ggml import {name}") == ""


@pytest.mark.parametrize("module", ["analysis.diff", "analysis.explain", "passes", "quantization"])
def test_rooms_are_silent(module: str) -> None:
    assert stderr_of("-c", f"import executorch_ggml.{module}") == ""


def test_an_export_that_fails_says_one_thing(tmp_path: Path) -> None:
    """The header is read, torch is loaded, and only then does the tensor that is missing come to light."""
    gguf = tmp_path / "m.gguf"
    write_gguf(gguf, arch="qwen3")
    data = gguf.read_bytes()
    gguf.write_bytes(data.replace(b"blk.0.attn_k.weight", b"blk.0.attn_x.weight"))
    lines = stderr_of("-m", "executorch_ggml.cli.main", "export", str(gguf), str(tmp_path / "m.pte")).splitlines()
    assert len(lines) == 1, lines
    assert "blk.0.attn_k.weight is missing" in lines[0]


@pytest.mark.parametrize("command", ["explain", "diff"])
def test_questions_about_a_model_are_silent(tmp_path: Path, command: str) -> None:
    model = tmp_path / "model.py"
    model.write_text("import torch\nmodel = torch.nn.Linear(8, 8)\nexample_inputs = (torch.zeros(1, 8),)\n")
    done = subprocess.run(
        [sys.executable, "-m", "executorch_ggml", command, str(model)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_an_export_that_works_is_silent(tmp_path: Path) -> None:
    """Its stages are drawn on a terminal only."""
    gguf = Path(__file__).resolve().parents[2] / "assets" / "scripture-2.9m-q8_0.gguf"
    assert stderr_of("-m", "executorch_ggml", "export", str(gguf), str(tmp_path / "m.pte")) == ""
