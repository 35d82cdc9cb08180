"""Decoding steps fused for a GPU, computed on the CPU by the plain form of every kernel: the same logits and tokens.

What runs here is the part that has no device in it: which groups of nodes become one call, and what the call says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.text.sampling import Sampling
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.runtime.program import Program
from tests.models.tiny import MAX_SEQ_LEN
from tests.support.make_gguf import write_gguf

ARCHITECTURES = ["qwen3", "llama", "gemma3", "phi3", "qwen2", "smollm3", "qwen3moe"]
CHUNKS = [1, 1, 5, 8, 9, 1]
"""Tokens of each call: one, a few, the most that a kernel takes, more than that."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    gguf, pte = folder / "m.gguf", folder / "m.pte"
    write_gguf(gguf, arch=request.param, type="f32", layers=2)
    export_gguf_to_pte(gguf, pte, GGUFExportConfig(max_seq_len=MAX_SEQ_LEN))
    return request.param, pte, gguf


def logits(pte: Path, gguf: Path) -> list[np.ndarray]:
    results, at = [], 0
    with Program(pte, gguf, threads=1) as program:
        for count in CHUNKS:
            ids = (np.arange(at, at + count, dtype=np.int64)[None] * 37 + 5) % 500
            results.append(np.array(program.execute("forward", [ids, np.arange(at, at + count, dtype=np.int64)])[0]))
            at += count
    return results


@pytest.mark.parametrize(
    ("forms", "attention"), [("cuda", ["HEADS_ATTENTION"]), ("cuda80", ["HEADS ", "DECODE_ATTENTION"])]
)
def test_logits(
    model: tuple[str, Path, Path],
    forms: str,
    attention: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    name, pte, gguf = model
    plain = logits(pte, gguf)
    dump = tmp_path / "dump.txt"
    monkeypatch.setenv("EXECUTORCH_GGML_FORMS", forms)
    monkeypatch.setenv("GGML_DEBUG_DUMP", str(dump))
    fused = logits(pte, gguf)
    # The cache is F16: a key that is rounded the other way is the largest difference there is.
    errors = [nmse(a, b) for a, b in zip(fused, plain, strict=True)]
    assert len(errors) == len(CHUNKS)
    assert max(errors) < 1e-5, errors
    made = dump.read_text()
    wanted = ["CAUSAL_MASK", " MAT_VEC", *attention]
    wanted += ["JOINED_MAT_VEC"] if name != "phi3" else []
    wanted += ["ROUTE", " GATED_EXPERTS", " EXPERTS"] if name == "qwen3moe" else ["GATED_MAT_VEC"]
    assert [kernel for kernel in wanted if kernel not in made] == []


def operations(dump: str) -> list[str]:
    """Of the last graph of a dump, without views."""
    views = {"VIEW", "RESHAPE", "PERMUTE", "TRANSPOSE"}
    names = re.findall(r"^%\d+ = (\S+)", dump.rpartition("# symbols")[2], re.MULTILINE)
    return [name for name in names if name not in views]


def test_every_node_of_a_step_is_ours(
    model: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, pte, gguf = model
    dump = tmp_path / "dump.txt"
    monkeypatch.setenv("EXECUTORCH_GGML_FORMS", "cuda")
    monkeypatch.setenv("GGML_DEBUG_DUMP", str(dump))
    with Program(pte, gguf, threads=1) as program:
        loop = TokenLoop(program)
        loop.feed([1])
        loop.next()
    ours = ["CAUSAL_MASK", "HEADS_ATTENTION", "MAT_VEC", "JOINED_MAT_VEC", "GATED_MAT_VEC", "ARGMAX"]
    ours += ["ROUTE", "GATED_EXPERTS", "EXPERTS"]
    # Gemma scales its embeddings.
    others = ["GET_ROWS", "SCALE"] if name == "gemma3" else ["GET_ROWS"]
    assert [op for op in operations(dump.read_text()) if op not in ours] == others


def test_the_greedy_choice_is_made_where_the_logits_are(
    model: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, pte, gguf = model

    def tokens() -> tuple[list[int], np.ndarray]:
        with Program(pte, gguf, threads=1, cache_type="f32") as program:
            loop = TokenLoop(program)
            loop.feed([1, 2, 3])
            chosen = [loop.next() for _ in range(6)]
            graph = program.stats()["graph"]
            assert graph["splits"] == 1
            assert (graph["calls"] > 0) == ("EXECUTORCH_GGML_FORMS" in os.environ)
            # Still there when somebody asks, though the loop itself never looked at them.
            first = loop.logits()
            # Having looked, it gets those of the next token with it.
            chosen.append(loop.next())
            view = loop.logits(copy=False)
            assert not view.flags.writeable
            assert not np.array_equal(view, first)
            return chosen, np.concatenate([first, view])

    plain, want = tokens()
    monkeypatch.setenv("EXECUTORCH_GGML_FORMS", "cuda")
    fused, got = tokens()
    assert fused == plain
    assert nmse(got, want) < 1e-9


def test_draws_are_made_where_the_logits_are(
    model: tuple[str, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, pte, gguf = model

    def tokens(sampling: Sampling) -> list[int]:
        with Program(pte, gguf, threads=1, cache_type="f32") as program:
            loop = TokenLoop(program, sampling)
            loop.feed([1, 2, 3])
            chosen = [loop.next() for _ in range(6)]
            # A token that is taken back: the next number decides, on the same logits.
            loop.rewind(loop.position - 1)
            chosen += [loop.next(), loop.next()]
            loop.logits()
            return [*chosen, loop.next()]

    kinds = [
        Sampling(temperature=1.3, top_k=40, top_p=0.9, seed=3),
        Sampling(temperature=0.7, top_k=1000, min_p=0.05, seed=4),
        Sampling(temperature=1.0, top_k=0, top_p=0.8, seed=5),  # the host's
    ]
    plain = [tokens(kind) for kind in kinds]
    dump = tmp_path / "dump.txt"
    monkeypatch.setenv("EXECUTORCH_GGML_FORMS", "cuda")
    monkeypatch.setenv("GGML_DEBUG_DUMP", str(dump))
    assert [tokens(kind) for kind in kinds[:2]] == plain[:2]
    assert "SAMPLE" in dump.read_text()
    dump.unlink()
    assert tokens(kinds[2]) == plain[2]
    assert "SAMPLE" not in dump.read_text()
