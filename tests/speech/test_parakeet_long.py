"""Ten minutes through Parakeet: memory stays flat, and chunks say what one long call says away from their seams."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from speech_models import TINY_PARAKEET, features_reference, greedy_reference, speech_like, tiny_parakeet

from executorch_ggml.speech.parakeet.export import export_parakeet
from executorch_ggml.speech.parakeet.transcribe import ParakeetTranscriber

pytestmark = pytest.mark.slow

SECONDS = 600
FRAME = 0.08


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Recording:
    """Ten minutes, made block by block: nothing of it is kept."""

    def __init__(self) -> None:
        self.memory: list[int] = []

    def __iter__(self) -> Iterator[Any]:
        for second in range(0, SECONDS, 10):
            yield speech_like(10.0, seed=second)
            self.memory.append(resident())


def long_model() -> Any:
    """One head, so that the reference can look at ten minutes at once, which attends to a second or two around it.

    A model that weighs all ten minutes alike would hear something else in any part of them. The sum of all cosines of a
    distance falls off with it; what a constant of the low frequencies adds, softmax does not see.
    """
    model = tiny_parakeet(2048, dataclasses.replace(TINY_PARAKEET, heads=1, layers=1))
    attention = model.encoder.layers[0].attn
    with torch.no_grad():
        attention.pos.weight.zero_()
        attention.pos.weight[0, 1::2] = 1.0
        attention.bias_v[0, 0] = 2.0 * attention.head_dim**0.5
    return model


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_ten_minutes(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = long_model()
    export_parakeet(model, tmp_path / "long.pte")
    recording = Recording()
    with ParakeetTranscriber(tmp_path / "long.pte", threads=1) as parakeet:
        transcript = parakeet.transcribe(recording)
        seam = parakeet.chunk * 0.01
    half = len(recording.memory) // 2  # the second pass runs the encoder
    growth = recording.memory[-1] - recording.memory[half + half // 4]
    assert growth < 8e6, f"memory grew by {growth / 1e6:.1f} MB over the last minutes"

    samples = np.concatenate(list(Recording()))
    whole = greedy_reference(with_positions_for(model, SECONDS * 100), features_reference(model, samples))

    def away(tokens: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        return [t for t in tokens if seam - abs(t[1] * FRAME % seam - seam / 2) - seam / 2 > 1.0]

    found = [(t.id, round(t.start / FRAME), round((t.end - t.start) / FRAME)) for t in transcript.tokens]
    assert len(found) > 1000
    assert away(found) == away(whole)


def with_positions_for(model: Any, frames: int) -> Any:
    """The same weights with a table of distances for a longer call."""
    from executorch_ggml.speech.parakeet.attention import relative_positions

    model.encoder.longest = -(-frames // model.config.subsampling)
    model.encoder.positions = relative_positions(model.config.width, model.encoder.longest)
    return model
