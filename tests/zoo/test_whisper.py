"""Whisper base with its real weights, as `examples/whisper.py` exports and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """(eager model, folder of the export)"""
    from examples import whisper

    try:
        model = whisper.whisper()
    except ModuleNotFoundError as error:
        pytest.skip(f"the model is not installed: {error}")
    folder = tmp_path_factory.mktemp("whisper")
    whisper.export(model, folder)
    return model, folder


def tones() -> np.ndarray[Any, Any]:
    """Six seconds of a chord whose parts come and go."""
    t = np.arange(6 * 16000) / 16000
    parts = [
        np.sin(2 * np.pi * f * t) * (np.sin(2 * np.pi * t / p) > 0) for f, p in ((220, 1.1), (660, 0.7), (1900, 0.3))
    ]
    return (0.1 * np.sum(parts, axis=0)).astype(np.float32)


def test_both_methods_are_eager_and_share_their_caches(exported: tuple[Any, Path]) -> None:
    import torch

    from examples.whisper import PROMPT, Transcriber, log_mel

    model, folder = exported
    transcriber = Transcriber(folder, threads=1)
    mel = log_mel(tones())
    with torch.no_grad():
        want = model.encode(torch.from_numpy(mel)).numpy()
    got = transcriber.program.execute("encode", [mel])[0]
    np.testing.assert_allclose(got, want, atol=2e-4 * np.abs(want).max())
    given, at = list(PROMPT), 0
    for _ in range(4):
        tokens, positions = np.array([given], np.int64), np.arange(at, at + len(given), dtype=np.int64)
        got = transcriber.program.execute("decode", [tokens, positions])[0].copy()
        with torch.no_grad():
            want = model.decode(torch.from_numpy(tokens), torch.from_numpy(positions)).numpy()
        np.testing.assert_allclose(got, want, atol=5e-3 * np.abs(want).max())  # caches are F16, eager's F32
        assert got.argmax() == want.argmax()
        at += len(given)
        given = [int(got.argmax())]


def test_quantised_weights_choose_the_same_tokens_first(exported: tuple[Any, Path]) -> None:
    from examples.whisper import Transcriber, log_mel

    mel = log_mel(tones())
    plain, small = (Transcriber(exported[1], weights, threads=1).tokens(mel, 4) for weights in ("f32", "q8_0"))
    assert plain == small


def test_spectrogram_is_that_of_transformers() -> None:
    from examples.whisper import log_mel

    transformers = pytest.importorskip("transformers")
    samples = tones()
    extractor = transformers.WhisperFeatureExtractor()
    want = extractor(samples, sampling_rate=16000, return_tensors="np").input_features
    np.testing.assert_allclose(log_mel(samples), want, atol=2e-3)
