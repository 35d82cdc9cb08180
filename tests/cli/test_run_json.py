"""`run --json`, `--quiet`, `python -m executorch_ggml`, completion, the default name of an export."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def given(bundled: TinyLlm) -> list[object]:
    return ["run", bundled.pte, "In the", "-g", bundled.gguf, "-t", 1, "-n", 4, "--temperature", 0]


def test_json(given: list[object]) -> None:
    result = cli(*given, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert facts["prompt"] + facts["text"] == cli(*given).stdout.rstrip("\n")
    assert (facts["finish_reason"], len(facts["tokens"])) == ("length", 4)
    assert facts["stats"]["tokens"] == 4
    assert "logprobs" not in facts
    facts = json.loads(cli(*given, "--json", "--logprobs", 2).stdout)
    assert [item["token"] for item in facts["logprobs"]] == facts["tokens"]
    assert all(item["top"][0]["token"] == item["token"] for item in facts["logprobs"])
    assert facts["logprobs"][0]["text"] in facts["text"]


def test_json_where_it_has_no_place(given: list[object]) -> None:
    assert "--json" in cli(*given, "--logprobs", 2).stderr
    assert "/save" in cli(*given, "--json", "--chat").stderr


def test_quiet(given: list[object]) -> None:
    result = cli(*given, "--quiet")
    assert (result.stderr, result.stdout) == ("", cli(*given).stdout)


def test_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "executorch_ggml", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("executorch-ggml ")


def test_completion() -> None:
    environment = {"_EXECUTORCH_GGML_COMPLETE": "complete_bash", "COMP_WORDS": "executorch-ggml ch", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], env=environment, prog_name="executorch-ggml")
    assert result.stdout.split() == ["chat", "check"]


def test_the_default_name_of_an_export(bundled: TinyLlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen3-0.6B has a dot of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(bundled.gguf, tmp_path / "tiny-2.9m-q8_0.gguf")
    result = cli("export", "tiny-2.9m-q8_0.gguf", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["max_seq_len"] == 512  # the model's own
    assert (tmp_path / "tiny-2.9m-q8_0.pte").is_file()
    result = cli("export", "tiny-2.9m-q8_0.gguf", "--max-seq-len", 600)
    assert "the model was trained for 512" in result.stderr
