"""`run --profile`, `-v` after the command, text on stdin beside a prompt, more threads than cores."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app


def cli(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def given(bundled: TinyLlm) -> list[object]:
    return ["run", bundled.pte, "In the", "-g", bundled.gguf, "-n", 2]


def test_profile(given: list[object]) -> None:
    result = cli(*given, "-t", 1, "--profile")
    assert result.exit_code == 0, result.output
    assert "operation" in result.stderr
    assert "MUL_MAT" in result.stderr
    assert "MUL_MAT" not in cli(*given, "-t", 1).stderr
    facts = json.loads(cli(*given, "-t", 1, "--profile", "--json").stdout)
    assert sum(item["ns"] for item in facts["operations"]) > 0
    assert "--chat" in cli(*given, "--profile", "--chat").stderr


@pytest.mark.parametrize(
    "before, after, level",
    [([], [], logging.WARNING), ([], ["-v"], logging.INFO), (["-v"], ["-v"], logging.DEBUG),
     ([], ["-vv"], logging.DEBUG), (["--verbose"], [], logging.INFO)],
)  # fmt: skip
def test_verbose_on_both_sides(before: list[str], after: list[str], level: int) -> None:
    logger = logging.getLogger("executorch_ggml")
    kept = logger.level
    try:
        result = cli(*before, "devices", *after)
        assert result.exit_code == 0, result.output
        assert logger.level == level
    finally:
        logger.setLevel(kept)


def test_text_on_stdin_beside_a_prompt(given: list[object]) -> None:
    def run(*more: str, text: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "executorch_ggml", *map(str, given), "-t", "1", *more]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True)

    assert "stdin is not read" in run(text="more text").stderr
    assert "stdin" not in run(text="").stderr
    assert run("-q", text="more text").stderr == ""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_more_threads_than_cores(given: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores that this process may not use do not count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert "2 threads on 1 cores" in cli(*given, "-t", 2).stderr
    assert "threads on" not in cli(*given, "-t", 1).stderr
