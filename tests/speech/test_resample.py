"""Another sample rate: exact positions, flat in the band, silent outside, the same however it is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executorch_ggml.speech.resample import Resampler

pytestmark = pytest.mark.quick


def convert(samples: Any, source: int, target: int, cuts: list[int] | None = None) -> Any:
    resampler = Resampler(source, target)
    blocks = np.split(samples.astype(np.float32), cuts or [])
    return np.concatenate([*(resampler.push(b) for b in blocks), resampler.finish()])


def sine(hertz: float, rate: int, seconds: float = 0.5) -> Any:
    return np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("source", [8000, 11025, 22050, 32000, 44100, 44101, 48000, 96000, 192000])
def test_band(source: int) -> None:
    inside = 0.8 * min(source, 16000) / 2
    found, wanted = convert(sine(inside, source), source, 16000), sine(inside, 16000)
    n = min(len(found), len(wanted))
    assert abs(len(found) - len(wanted)) <= 1
    np.testing.assert_allclose(found[500 : n - 500], wanted[500 : n - 500], atol=2e-3)
    if source > 17000:  # what the new rate cannot hold must not come back as another tone
        outside = sine(8800.0, source)
        assert np.abs(convert(outside, source, 16000)[500:-500]).max() < 2e-3


@given(
    source=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    length=st.integers(1, 3000),
    cuts=st.lists(st.integers(0, 3000), max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_cut_anywhere(source: int, length: int, cuts: list[int]) -> None:
    samples = np.random.default_rng(length).standard_normal(length)
    whole = convert(samples, source, 16000)
    np.testing.assert_array_equal(convert(samples, source, 16000, sorted(min(c, length) for c in cuts)), whole)
    assert len(whole) == (length * 16000 - 1) // source + 1 if source != 16000 else len(whole) == length


def test_memory_does_not_grow() -> None:
    resampler = Resampler(44100, 16000)
    for _ in range(50):
        resampler.push(np.zeros(10000, np.float32))
        assert len(resampler.held) < 11000
