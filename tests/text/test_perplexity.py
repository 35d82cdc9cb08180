"""Perplexity against a direct computation with full logits, and on the command line."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from executorch_ggml.text import Perplexity, perplexity
from shared_models import TinyLlm
from typer.testing import CliRunner, Result

from executorch_ggml import GGUFExportConfig, GGUFModule, export_gguf_to_pte
from executorch_ggml.cli.main import app
from executorch_ggml.errors import InvalidArgumentError, UnsupportedError, ValueRangeError

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "assets" / "heldout.txt").read_text()[:4000]
CONTEXT = 64


@pytest.fixture(scope="module")
def full(bundled: TinyLlm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "full.pte"
    export_gguf_to_pte(bundled.gguf, path, GGUFExportConfig(max_seq_len=CONTEXT, full_logits=True))
    return path


def direct(module: GGUFModule, ids: list[int], context: int, bos: int | None) -> list[list[float]]:
    """Losses of the counted tokens, chunk by chunk: one call, log-softmax in double."""
    found = []
    for at in range(0, len(ids) - context + 1, context):
        row = list(ids[at : at + context])
        if bos is not None:
            row[0] = bos
        logits = module.forward([row], list(range(context)))[0][0].astype(np.float64)
        losses = []
        for position in range(context // 2, context - 1):
            line = logits[position]
            total = math.log(np.exp(line - line.max()).sum()) + line.max()
            losses.append(total - line[row[position + 1]])
        found.append(losses)
    return found


def _append(seen: list[tuple[int, int, float]], *found: int) -> None:
    seen.append((found[0], found[1], found[2]))


def test_against_a_direct_computation(bundled: TinyLlm, full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GGUFModule(full, bundled.gguf, threads=1, cache_type="f32") as module:
        ids = module.tokenizer.encode(TEXT)
        for context in (CONTEXT, 33):
            bos = module.tokenizer.bos_id if module.tokenizer.vocabulary.add_bos else None
            losses = direct(module, ids, context, bos)
            flat = np.concatenate(losses)
            seen: list[tuple[int, int, float]] = []
            note: Callable[..., None] = partial(_append, seen)
            result = perplexity(module, TEXT, context=context, on_chunk=note)
            assert result.tokens == flat.size == len(losses) * (context - 1 - context // 2)
            assert result.value == pytest.approx(np.exp(flat.mean()), rel=1e-6)
            assert result.error == pytest.approx(result.value * flat.std() / math.sqrt(flat.size - 1), rel=1e-6)
            assert [number for number, _, _ in seen] == list(range(1, len(losses) + 1))
            assert [value for _, _, value in seen] == list(result.chunks)
            first = perplexity(module, ids, context=context, chunks=1, tokenizer=module.tokenizer)
            assert first.value == result.chunks[0] == pytest.approx(np.exp(np.mean(losses[0])), rel=1e-6)
        monkeypatch.setattr(sys.modules[perplexity.__module__], "_LOGITS", 5 * 2048)
        assert perplexity(module, TEXT, context=context).value == pytest.approx(result.value, rel=5e-3)


def test_the_token_that_begins_a_text(bundled: TinyLlm, full: Path) -> None:
    """It takes the place of the first token of each chunk, where the vocabulary wants one."""
    with GGUFModule(full, bundled.gguf, threads=1) as module:
        vocabulary = module.tokenizer.vocabulary
        ids = module.tokenizer.encode(TEXT, add_special=False)
        changed = [5 if i % CONTEXT == 0 else token for i, token in enumerate(ids)]
        same = [perplexity(module, given, context=CONTEXT).value for given in (ids, changed)]
        assert (same[0] == same[1]) == bool(vocabulary.add_bos and vocabulary.bos_id is not None)


def test_errors(bundled: TinyLlm, full: Path) -> None:
    with GGUFModule(full, bundled.gguf, threads=1) as module:
        with pytest.raises(InvalidArgumentError, match=r"the text has \d+ tokens"):
            perplexity(module, "In the beginning", context=CONTEXT)
        with pytest.raises(ValueRangeError, match="64 positions"):
            perplexity(module, TEXT, context=512)
        for context in (3, True, "8"):
            with pytest.raises(InvalidArgumentError, match="context"):
                perplexity(module, TEXT, context=context)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="tokenizer"):
            perplexity(module.program, TEXT, context=CONTEXT)
        assert isinstance(perplexity(module.program, [5] * 128, context=CONTEXT), Perplexity)
    with (
        GGUFModule(bundled.pte, bundled.gguf, threads=1) as module,
        pytest.raises(UnsupportedError, match="full-logits"),
    ):
        perplexity(module, TEXT, context=CONTEXT)


def cli(*arguments: object, input: str | None = None) -> Result:
    return CliRunner().invoke(
        app, ["perplexity", *map(str, arguments)], input=input, env={"NO_COLOR": "1", "TERM": "dumb"}
    )


def test_the_command(bundled: TinyLlm, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    given = [full, "-g", bundled.gguf, "-t", 1]
    result = cli(*given, "-f", file)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("perplexity: ")
    assert "chunks of 64)" in result.stdout
    assert result.stderr.startswith("[1/")
    facts = json.loads(cli(*given, "--json", "--chunks", 3, input=TEXT).stdout)
    assert len(facts["chunks"]) == 3
    assert facts["value"] == facts["chunks"][-1]
    monkeypatch.setenv("EXECUTORCH_GGML_GRAPHS", str(tmp_path / "graphs"))
    alone = cli(bundled.gguf, "-f", file, "-c", CONTEXT, "-q", "-t", 1)
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert alone.stdout == result.stdout
    file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in cli(*given, "-f", file).stderr
