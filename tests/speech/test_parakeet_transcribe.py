"""Parakeet from samples to tokens: against a plain decoder in torch, in chunks, on bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from speech_models import PIECES, features_reference, greedy_reference, speech_like, tiny_parakeet

from executorch_ggml.errors import AudioError, FormatError, InvalidArgumentError
from executorch_ggml.speech.parakeet.transcribe import ParakeetTranscriber


@pytest.fixture(scope="module")
def parakeet(parakeet_pte: Callable[[str], Path]) -> Iterator[ParakeetTranscriber]:
    with ParakeetTranscriber(parakeet_pte("F32"), threads=1, context_seconds=0.48) as transcriber:
        yield transcriber


@pytest.mark.parametrize("seconds", [0.2, 1.77, 5.0])
def test_tokens_are_those_of_a_plain_decoder(seconds: float, parakeet: ParakeetTranscriber) -> None:
    samples = speech_like(seconds, seed=7)
    transcript = parakeet.transcribe([samples])
    model = tiny_parakeet()
    wanted = greedy_reference(model, features_reference(model, samples))
    assert [(t.id, round(t.start / 0.08), round((t.end - t.start) / 0.08)) for t in transcript.tokens] == wanted
    assert transcript.text == b"".join(PIECES[t] for t, _, _ in wanted).decode().strip()
    assert " ".join(w.text for w in transcript.words()).split() == transcript.text.split()
    assert transcript.audio_seconds == pytest.approx(seconds, abs=0.01)


def test_blocks_may_be_cut_anywhere(parakeet: ParakeetTranscriber) -> None:
    samples = speech_like(3.0, seed=3)
    whole = parakeet.transcribe([samples])
    cuts = sorted(np.random.default_rng(0).integers(0, len(samples), 40))
    assert parakeet.transcribe(np.split(samples, cuts)).tokens == whole.tokens


def test_silence_shorter_than_a_frame(parakeet: ParakeetTranscriber) -> None:
    """It is filled up with silence to the least that the encoder takes."""
    frames = parakeet.subsampling + 1
    transcript = parakeet.transcribe([np.zeros(3, np.float32)])
    assert transcript.audio_seconds == pytest.approx(frames * parakeet.hop / parakeet.sample_rate)
    assert transcript.tokens == parakeet.transcribe([np.zeros(frames * parakeet.hop, np.float32)]).tokens


def test_an_iterator_is_refused(parakeet: ParakeetTranscriber) -> None:
    with pytest.raises(InvalidArgumentError, match="twice"):
        parakeet.transcribe(iter([np.zeros(16000, np.float32)]))


def test_chunks_that_do_not_fit(parakeet_pte: Callable[[str], Path]) -> None:
    with pytest.raises(InvalidArgumentError, match="one call"):
        ParakeetTranscriber(parakeet_pte("F32"), chunk_seconds=60.0)
    with pytest.raises(InvalidArgumentError, match="context_seconds"):
        ParakeetTranscriber(parakeet_pte("F32"), context_seconds=float("nan"))


@pytest.mark.quick
def test_another_pte(mlp: object) -> None:
    with pytest.raises(FormatError, match="not a speech model"):
        ParakeetTranscriber(mlp.pte)  # type: ignore[attr-defined]


def test_audio_errors_come_through(parakeet: ParakeetTranscriber) -> None:
    from executorch_ggml.speech.audio import mono_blocks

    class Bad:
        def __iter__(self) -> Iterator[np.ndarray]:
            return mono_blocks([np.array([0.0, np.nan])], 16000, 16000)

    with pytest.raises(AudioError, match="sample 1 is nan"):
        parakeet.transcribe(Bad())


@pytest.mark.parametrize("audio", [[], [np.zeros(0, np.float32)], [np.zeros(0)] * 3])
def test_nothing_to_hear(audio: list[np.ndarray], parakeet: ParakeetTranscriber) -> None:
    with pytest.raises(AudioError, match="no samples"):
        parakeet.transcribe(audio)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.bool_])
def test_integers_have_a_scale_that_is_not_ours_to_guess(dtype: type, parakeet: ParakeetTranscriber) -> None:
    with pytest.raises(AudioError, match="mono_blocks converts"):
        parakeet.transcribe([np.ones(16000, dtype)])
