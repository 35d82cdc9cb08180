"""Voxtral Realtime from samples to tokens: against the library's model without caches, in steps, on bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speech_models import speech_like
from voxtral_models import hf_model, hf_steps, write_hf, write_mistral

from executorch_ggml.errors import BindError, FormatError, InvalidArgumentError, ValueRangeError
from executorch_ggml.speech.voxtral.transcribe import VoxtralTranscriber

Files = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def voxtral(voxtral_files: Files) -> Iterator[VoxtralTranscriber]:
    with VoxtralTranscriber(*voxtral_files("F32"), threads=1, cache_type="f32") as transcriber:
        yield transcriber


@pytest.mark.parametrize("seconds", [0.05, 1.03, 4.0])
def test_tokens_are_those_of_a_plain_decoder(seconds: float, voxtral: VoxtralTranscriber) -> None:
    """4 s slide both caches: theirs is a mask over everything."""
    samples = speech_like(seconds, seed=5)
    found = list(voxtral.steps([samples]))
    assert found == hf_steps(hf_model(), samples)
    assert seconds < 1.0 or len(set(found)) > 3


@pytest.mark.parametrize("step", [0.08, 0.4])
def test_streaming_equals_offline(step: float, voxtral: VoxtralTranscriber, voxtral_files: Files) -> None:
    samples = speech_like(3.0, seed=6)
    whole = list(voxtral.steps([samples]))
    with VoxtralTranscriber(*voxtral_files("F32"), threads=1, cache_type="f32", step_seconds=step) as streaming:
        assert list(streaming.steps(iter(np.array_split(samples, 37)))) == whole


def test_tokens_come_before_the_audio_ends(voxtral_files: Files) -> None:
    given = 0

    def microphone() -> Iterator[Any]:
        nonlocal given
        for block in np.array_split(speech_like(4.0), 50):
            given += 1
            yield block

    with VoxtralTranscriber(*voxtral_files("F32"), threads=1, step_seconds=0.08) as streaming:
        next(streaming.steps(microphone()))
        assert given < 10


def test_text_and_times(voxtral: VoxtralTranscriber) -> None:
    samples = speech_like(2.0, seed=5)
    seen: list[float] = []
    transcript = voxtral.transcribe([samples], progress=seen.append)
    assert transcript.audio_seconds == 2.0
    assert seen == sorted(seen)
    assert all(t.piece and 0 <= t.start < t.end < 3.2 for t in transcript.tokens)
    assert [t.start for t in transcript.tokens] == sorted(t.start for t in transcript.tokens)
    assert transcript.text == b"".join(t.piece for t in transcript.tokens).decode("utf-8", "replace").strip()


def test_caches_that_do_not_slide_end(voxtral: VoxtralTranscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(voxtral.model.facts, "streaming", False)
    with pytest.raises(ValueRangeError, match="--streaming"):
        list(voxtral.steps([speech_like(4.0)]))


@pytest.mark.parametrize("write", [write_hf, write_mistral])
def test_layouts(write: Any, tmp_path: Path) -> None:
    """Both layouts of one model, read back, compute the same."""
    import torch

    from executorch_ggml.speech.voxtral.convert import open_voxtral
    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    reference = hf_model()
    checkpoint = open_voxtral(write(reference, tmp_path))
    assert (checkpoint.config.pad, checkpoint.config.left_pad_tokens, checkpoint.config.right_pad_tokens) == (32, 4, 11)
    assert checkpoint.pieces[40 + 65] == b"A"
    assert checkpoint.pieces[32] == b""
    assert open_voxtral(tmp_path, delay_tokens=5).config.delay_tokens == 5
    model = checkpoint.load(VoxtralRealtime.random(checkpoint.config, 16, 64))
    mel = torch.randn(1, 32, 80, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(40)
    with torch.no_grad():
        wanted = reference.get_audio_features(input_features=mel, use_cache=False).pooler_output
        torch.testing.assert_close(model.encoder(mel, positions, positions), wanted, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_named(tmp_path: Path, voxtral_files: Files, parakeet_pte: Callable[[str], Path]) -> None:
    from safetensors.torch import load_file, save_file

    from executorch_ggml.speech.voxtral.convert import open_voxtral
    from executorch_ggml.speech.voxtral.model import VoxtralRealtime

    folder = write_mistral(hf_model(), tmp_path)
    weights = load_file(folder / "consolidated.safetensors")
    del weights["layers.1.ada_rms_norm_t_cond.2.weight"]
    save_file(weights, folder / "consolidated.safetensors")
    checkpoint = open_voxtral(folder)
    with pytest.raises(BindError, match=r"decoder\.layers\.1 lacks a matrix"):
        list(checkpoint.sources(VoxtralRealtime.meta(checkpoint.config, 16, 64)))
    (folder / "params.json").write_text("{}")
    with pytest.raises(FormatError, match="not the configuration of a Voxtral"):
        open_voxtral(folder)
    with pytest.raises(FormatError, match="parakeet-tdt model, not voxtral"):
        VoxtralTranscriber(parakeet_pte("F32"))
    with pytest.raises(InvalidArgumentError, match="one call"):
        VoxtralTranscriber(*voxtral_files("F32"), step_seconds=5.0)
