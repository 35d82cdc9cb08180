"""The bundled model still speaks: its perplexity on text that it has not seen, for each quantisation of its weights."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "assets" / "scripture-2.9m-q8_0.gguf"
CONTEXT, WINDOWS = 512, 6

# Perplexity a token, over that of the same weights in float32. Measured, then rounded up; the 2.9 M parameters of this
# model have no slack, so the small types cost more than they do in a real model.
BOUNDS = {
    "f16": 1.0005, "bf16": 1.002, "q8_0": 1.002, "q6_k": 1.006, "q5_k": 1.01, "q5_0": 1.015, "q4_k": 1.02, "q4_0": 1.03,
    "iq4_xs": 1.04, "q3_k": 1.18, "q2_k": 1.75,
}  # fmt: skip


@functools.cache
def tokens() -> np.ndarray:
    """Token ids [WINDOWS, CONTEXT] of the held-out text, each window behind the token that begins a text."""
    from executorch_ggml.llm.text import Tokenizer

    tokenizer = Tokenizer.from_gguf(BUNDLED)
    text = (ROOT / "assets" / "heldout.txt").read_text()
    ids = tokenizer.encode(text, add_special=False)
    rows = np.asarray(ids[: WINDOWS * (CONTEXT - 1)], np.int64).reshape(WINDOWS, CONTEXT - 1)
    return np.concatenate([np.full((WINDOWS, 1), 2047, np.int64), rows], axis=1)


def perplexity(logits: np.ndarray, ids: np.ndarray) -> float:
    """exp of the mean negative log likelihood of ids[:, 1:] under logits [windows, CONTEXT, vocabulary]."""
    scores = logits[:, :-1].astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    chosen = np.take_along_axis(scores, ids[:, 1:, None], -1)[..., 0]
    return float(np.exp((np.log(np.exp(scores).sum(-1)) - chosen).mean()))


@pytest.fixture(scope="module")
def full_pte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

    path = tmp_path_factory.mktemp("bundled") / "full.pte"
    export_gguf_to_pte(BUNDLED, path, GGUFExportConfig(max_seq_len=CONTEXT, full_logits=True))
    return path


def native(pte: Path, gguf: Path, cache_type: str = "f16") -> float:
    from executorch_ggml.llm.module import GGUFModule

    ids = tokens()
    with GGUFModule(pte, gguf, threads=1, cache_type=cache_type) as module:
        logits = [module.forward(row[None], np.arange(CONTEXT))[0][0].copy() for row in ids]
    return perplexity(np.stack(logits), ids)


@pytest.fixture(scope="module")
def float32(full_pte: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    from benchmarks.requantize import requantize

    return native(full_pte, requantize(BUNDLED, tmp_path_factory.mktemp("f32") / "f32.gguf", "f32"), "f32")


def test_float32_is_eager(float32: float) -> None:
    import torch

    from executorch_ggml.llm.decoder import build_decoder, load_dequantized, read_header

    header, ids = read_header(BUNDLED), tokens()
    model = load_dequantized(build_decoder(header, CONTEXT, full_logits=True), header)
    with torch.no_grad():
        logits = [model(torch.from_numpy(row[None]), torch.arange(CONTEXT))[0].numpy() for row in ids]
    assert float32 == pytest.approx(perplexity(np.stack(logits), ids), rel=1e-5)
    assert float32 < 18.0  # 16.75 on the whole of the held-out text when it was trained


@pytest.mark.parametrize("kind", BOUNDS)
def test_quantised(kind: str, full_pte: Path, float32: float, tmp_path: Path) -> None:
    from benchmarks.requantize import requantize

    ratio = native(full_pte, requantize(BUNDLED, tmp_path / f"{kind}.gguf", kind)) / float32
    print(f"{kind}: {ratio * float32:.3f}, {ratio:.4f} of float32")
    assert 0.9 < ratio < BOUNDS[kind]
