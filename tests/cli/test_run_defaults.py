"""`run` without options: sampled, limited, and options without effect are named."""

from __future__ import annotations

import io
from importlib import import_module

import pytest
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml.cli.main import app
from executorch_ggml.llm.text.generate import Generation

run_module = import_module("executorch_ggml.cli.run")


def cli(*arguments: object, input: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=input, env={"NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def given(bundled: TinyLlm) -> list[object]:
    return ["run", bundled.pte, "In the", "-g", bundled.gguf, "-t", 1]


def test_it_samples(given: list[object]) -> None:
    assert len({cli(*given, "-n", 12).stdout for _ in range(4)}) > 1
    assert len({cli(*given, "-n", 12, "--temp", 0).stdout for _ in range(3)}) == 1


def test_the_files_sampling(given: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch_ggml.llm.text import sampling_defaults
    from executorch_ggml.llm.text.sampling import Sampling

    monkeypatch.setattr(sampling_defaults, "default_sampling", lambda metadata: Sampling())  # as if it said: greedy
    assert len({cli(*given, "-n", 12).stdout for _ in range(3)}) == 1


def test_it_ends(given: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_LIMIT", 7)
    result = cli(*given, "--ignore-end")
    assert "answer: 7 tokens" in result.stderr
    assert "ended by the limit of 7 tokens (-n)" in result.stderr
    assert "the context is full" in cli(*given, "--ignore-end", "-n", 0).stderr  # 96 positions


def test_options_without_effect(given: list[object]) -> None:
    result = cli(*given, "-n", 2, "--temperature", 0, "--top-k", 5, "--seed", 3)
    assert "--top-k, --seed without effect" in result.stderr
    assert "without effect" not in cli(*given, "-n", 2, "--top-k", 5).stderr
    assert cli(*given, "-n", 2, "--temperature", 0, "--top-k", 5, "--quiet").stderr == ""


def test_system_without_chat(given: list[object]) -> None:
    result = cli(*given, "--system", "Be kind.")
    assert result.exit_code == 1
    assert "--chat" in result.stderr


def test_more_positions_than_the_model_has(
    bundled: TinyLlm, given: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from executorch_ggml.llm import graph_cache

    assert "trained" not in cli(*given, "-n", 1).stderr
    monkeypatch.setattr(graph_cache, "context_length", lambda metadata: 64)
    assert "the model was trained for 64" in cli(*given, "-n", 1).stderr


def test_more_threads_than_cores(given: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    assert "2 threads on 1 cores" in cli(*given[:-1], 2, "-n", 1).stderr


def test_a_terminal_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("words"))
    assert run_module._read(quiet=False) == "words"
    assert "Ctrl-D" in capsys.readouterr().err


def test_ctrl_c_is_no_error(given: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = Generation._step, []

    def step(self: Generation) -> object:
        seen.append(self)
        if len(seen) > 4:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Generation, "_step", step)
    result = cli(*given, "--ignore-end")
    assert result.exit_code == 0, result.output
    assert "interrupted" in result.stderr
    assert "error" not in result.stderr
