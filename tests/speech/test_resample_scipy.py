"""Our resampler beside scipy's, which has the whole signal at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import firwin, resample_poly
from test_resample import convert

from executorch_ggml.analysis.nmse import nmse

pytestmark = pytest.mark.quick

TARGET = 16000


def speech(rate: int, band: float) -> Any:
    """Half a second of noise without anything above ``band`` Hz, faded in and out."""
    count = rate // 2
    spectrum = np.fft.rfft(np.random.default_rng(rate).standard_normal(count))
    spectrum[np.fft.rfftfreq(count, 1 / rate) > band] = 0
    return np.fft.irfft(spectrum, count) * np.hanning(count)


@pytest.mark.parametrize("source", [8000, 11025, 22050, 32000, 44100, 48000, 96000])
def test_same_as_scipys(source: int) -> None:
    common = int(np.gcd(source, TARGET))
    up, down = TARGET // common, source // common
    samples = speech(source, 0.8 * min(source, TARGET) / 2)
    # As many zero crossings as ours on each side, twice over: nearer to the truth than ours is.
    taps = firwin(2 * 64 * max(up, down) + 1, 0.94 / max(up, down), window=("kaiser", 8.0))
    wanted = resample_poly(samples, up, down, window=taps)
    found = convert(samples, source, TARGET)
    assert len(found) == len(wanted)
    assert nmse(found, wanted) < 1e-9
