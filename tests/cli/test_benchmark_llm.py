"""benchmark_llm, the C++ program: what it prints, and what it does with wrong arguments and files."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from shared_models import Mlp, TinyLlm


@pytest.fixture(scope="module")
def program() -> Path:
    from executorch_ggml.runtime._load import library_path

    path = library_path().parent.parent / "bin" / "benchmark_llm"
    if not path.exists():
        pytest.skip("built without the tools")
    return path


def run(program: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    from executorch_ggml.runtime._load import executorch_directory

    # An installed library finds libexecutorch beside its package; one in a build tree is told where it is.
    env = {**os.environ, "LD_LIBRARY_PATH": str(executorch_directory() / "lib"), **environment}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)


SMALL = ("--threads", 1, "--n-decode", 4, "--prompt-len", 5, "--repeat", 2, "--warmup", 0)


def test_text(program: Path, tiny_llm: TinyLlm) -> None:
    done = run(program, tiny_llm.pte, "--gguf", tiny_llm.gguf, *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.search(r"^prompt +[\d.]+ tok/s +\([\d.]+ \.\. [\d.]+\) +5 tokens$", done.stdout, re.MULTILINE)
    assert re.search(r"^decode +[\d.]+ tok/s .* 4 tokens, [\d.]+ ms a token", done.stdout, re.MULTILINE)
    assert "operation" not in done.stdout


def test_times(program: Path, tiny_llm: TinyLlm) -> None:
    by_phase = run(program, tiny_llm.pte, "--gguf", tiny_llm.gguf, *SMALL, GGML_PERF_LOG="1").stdout
    assert re.search(r"^compute +[\d.]+ +[\d.]+$", by_phase, re.MULTILINE)
    by_op = run(program, tiny_llm.pte, "--gguf", tiny_llm.gguf, *SMALL, GGML_PROFILE="1").stdout
    assert re.search(r"^(MUL_MAT|LINEAR) .* [\d.]+$", by_op, re.MULTILINE)


def test_sampling(program: Path, tiny_llm: TinyLlm) -> None:
    arguments = (program, tiny_llm.pte, "--gguf", tiny_llm.gguf, *SMALL, "--sampling")
    assert run(*arguments, '{"temperature": 0.8, "top_k": 5}').returncode == 0
    assert "top_q" in run(*arguments, '{"top_q": 5}').stderr


@pytest.mark.parametrize("logits", ["argmax", "full"])
def test_json(program: Path, tiny_llm: TinyLlm, logits: str) -> None:
    options = ("--depth", 7, "--cache-type", "f32", "--device", "cpu", "--logits", logits, "--json")
    done = run(program, tiny_llm.pte, "--gguf", tiny_llm.gguf, *SMALL, *options, GGML_PROFILE="1")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    for name in ("prompt_tok_s", "decode_tok_s", "step_ms"):
        assert 0 < values[name]["min"] <= values[name]["median"] <= values[name]["max"]
    assert (values["logits"], values["depth"], values["cache_type"], values["threads"]) == (logits, 7, "f32", 1)
    # No GPU: nothing is replayed, and everything is one graph.
    graph = values["graph"]
    assert graph["nodes"] > 10
    assert {type(count) for count in graph.values()} == {int}
    assert (graph["calls"], graph["splits"], graph["device_runs"], graph["replayed"]) == (0, 1, 0, 0)
    assert values["stats"]["calls"] >= 2 * (1 + 1 + 4)


def test_failures(program: Path, tiny_llm: TinyLlm, mlp: Mlp, tmp_path: Path) -> None:
    for arguments, word in [
        ((tmp_path / "none.pte",), "none.pte"),
        ((tiny_llm.pte, "--gguf", tmp_path / "none.gguf"), "none.gguf"),
        ((tiny_llm.pte, "--gguf", mlp.gguf), "mlp.gguf"),
        ((mlp.pte,), "language model"),
        ((tiny_llm.pte, "--gguf", tiny_llm.gguf, "--prompt-len", 40), "32 positions"),
        ((tiny_llm.pte, "--gguf", tiny_llm.gguf, "--cache-type", 'q"\\'), "cache_type"),
        ((tiny_llm.pte, "--gguf", tiny_llm.gguf, "--device", "abacus"), "abacus"),
    ]:
        done = run(program, *arguments)
        assert (done.returncode, word in done.stderr) == (1, True), (arguments, done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [(), ("a.pte", "b.pte"), ("a.pte", "--threads"), ("a.pte", "--threads", "x"), ("a.pte", "--speed", "1"),
     ("a.pte", "--repeat", "0"), ("a.pte", "--logits", "some")],
)  # fmt: skip
def test_wrong_usage(program: Path, arguments: tuple[str, ...]) -> None:
    done = run(program, *arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
