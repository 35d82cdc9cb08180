"""Each method of an exported Voxtral Realtime against the library's own model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxtral_models import DELAY, WINDOW, hf_model

from executorch_ggml import Program
from executorch_ggml.analysis.nmse import nmse

BOUNDS = {"F32": 1e-8, "BF16": 1e-3, "Q8_0": 3e-3}
"""Normalised squared error of each dtype."""

Run = tuple[str, Program]


@pytest.fixture(scope="module")
def model() -> Any:
    return hf_model()


@pytest.fixture(scope="module", params=list(BOUNDS))
def program(request: Any, voxtral_files: Callable[[str], tuple[Path, Path]]) -> Iterator[Run]:
    pte, gguf = voxtral_files(request.param)
    with Program(pte, gguf, threads=1, cache_type="f32") as program:
        yield request.param, program


def agree(dtype: str, found: Any, wanted: Any) -> None:
    wanted = wanted.detach().numpy()
    assert found.shape == wanted.shape
    if dtype == "F32":
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert nmse(found, wanted) < BOUNDS[dtype]


def ids(first: int, count: int) -> Any:
    return np.arange(first, first + count, dtype=np.int64)


@pytest.mark.parametrize("length", [2, 7, 128])
def test_log_mel(length: int, program: Run) -> None:
    from transformers import VoxtralRealtimeFeatureExtractor

    samples = 0.1 * torch.randn(160 * length, generator=torch.Generator().manual_seed(length))
    wanted = VoxtralRealtimeFeatureExtractor(feature_size=32)(
        samples, sampling_rate=16000, return_tensors="pt", center=False
    ).input_features if length > 2 else None  # fmt: skip
    found = program[1].execute("log_mel", [torch.nn.functional.pad(samples, (0, 240))[None].numpy()])[0]
    assert found.shape == (1, 32, length)
    if wanted is not None:  # frames that lie wholly inside; theirs has no padding, and drops the last
        agree("F32", found[:, :, : wanted.shape[2]], wanted)


@pytest.mark.parametrize("length", [1, 7, 16])
@torch.no_grad()
def test_encoder(length: int, model: Any, program: Run) -> None:
    """Below the bound, odd, at the bound: from an empty cache, where streaming and offline are defined alike."""
    dtype, runs = program
    mel = torch.randn(1, 32, 8 * length, generator=torch.Generator().manual_seed(length))
    runs.reset()
    found = runs.execute("encoder", [mel.numpy(), ids(0, 4 * length), ids(0, 4 * length)])[0]
    agree(dtype, found, model.get_audio_features(input_features=mel, use_cache=False).pooler_output)


@torch.no_grad()
def test_encoder_in_pieces(model: Any, program: Run) -> None:
    """Streaming equals offline, however the recording is cut, past the point where the caches are compacted."""
    dtype, runs = program
    mel = torch.randn(1, 32, 8 * 60, generator=torch.Generator().manual_seed(0))
    rows = WINDOW + 2 * 4 * 16
    runs.reset()
    parts, at, row = [], 0, 0
    for count in [1, 3, 16, 2, 5, 1, 16, 11, 5]:
        if row + 4 * count > rows:
            runs.execute("compact_encoder", [ids(row - WINDOW, WINDOW)])
            row = WINDOW
        piece = np.ascontiguousarray(mel[:, :, 8 * at : 8 * (at + count)].numpy())
        parts.append(runs.execute("encoder", [piece, ids(4 * at, 4 * count), ids(row, 4 * count)])[0])
        at, row = at + count, row + 4 * count
    assert at == 60
    agree(
        dtype,
        np.concatenate(parts, axis=1),
        model.get_audio_features(input_features=mel, use_cache=False).pooler_output,
    )


@pytest.mark.parametrize("length", [1, 5, 16])
@torch.no_grad()
def test_decoder(length: int, model: Any, program: Run) -> None:
    dtype, runs = program
    generator = torch.Generator().manual_seed(length)
    audio, tokens = (
        torch.randn(1, length, 64, generator=generator),
        torch.randint(0, 320, (1, length), generator=generator),
    )
    runs.reset()
    found = runs.execute("decoder", [audio.numpy(), tokens.numpy(), ids(0, length), ids(0, length)])[0]
    inner = model.model
    condition = inner.time_embedding(torch.full((1,), float(DELAY)))[None]
    embedded = inner.language_model.embed_tokens(tokens) + audio
    out = inner.language_model(inputs_embeds=embedded, t_cond=condition, use_cache=False).last_hidden_state
    agree(dtype, found, model.lm_head(out[:, -1:]))


def test_states_and_weights_are_shared_by_name(voxtral_files: Callable[[str], tuple[Path, Path]]) -> None:
    """Every method loaded: each cache is there once, and the weights are those of the file, mapped."""
    pte, gguf = voxtral_files("F32")
    methods = ["encoder", "compact_encoder", "decoder", "compact_decoder"]
    with Program(pte, gguf, threads=1, methods=methods) as runs:
        info = runs.info()
    names = [state["name"] for state in info["states"]]
    caches = [
        f"{part}.layers.{i}.attn.{kind}_cache" for part in ("encoder", "decoder") for i in (0, 1) for kind in "kv"
    ]
    assert sorted(names) == sorted([*caches, "encoder.tail1", "encoder.tail2"])
    assert info["weights"]["bytes"] < 1.05 * gguf.stat().st_size
