"""Mel filters and windowed Fourier bases, as the matrices that the log-mel methods multiply by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fourier_basis", "mel_filters"]

Array = npt.NDArray[np.float64]

# Slaney's scale: linear to 1 kHz (15 mels), then 27 mels for each factor of 6.4.
_LINEAR_HZ = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def _to_mel(hz: Array) -> Array:
    above = _KNEE_MEL + np.log(np.maximum(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    mel: Array = np.where(hz < _KNEE_HZ, hz / _LINEAR_HZ, above)
    return mel


def _to_hz(mel: Array) -> Array:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    hz: Array = np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ, above)
    return hz


def mel_filters(bins: int, n_fft: int, sample_rate: int) -> Array:
    """Triangles on Slaney's mel scale, each of unit area: float64 [bins, n_fft // 2 + 1], 0 Hz to half the rate."""
    edges = _to_hz(np.linspace(0.0, float(_to_mel(np.array(sample_rate / 2.0))), bins + 2))
    frequencies = np.linspace(0.0, sample_rate / 2.0, n_fft // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    areas = (2.0 / (edges[2:] - edges[:-2]))[:, None]
    filters: Array = np.maximum(0.0, np.minimum(rising, falling)) * areas
    return filters


def fourier_basis(n_fft: int, window: int, *, periodic: bool) -> Array:
    """Real and imaginary parts of a DFT behind a Hann window: float64 [2 * (n_fft // 2 + 1), window].

    The window lies in the middle of the n_fft samples; the zeros beside it are left out, which changes phases only.
    """
    samples = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * samples / (window if periodic else window - 1))
    angles = 2.0 * np.pi * np.outer(np.arange(n_fft // 2 + 1), samples) / n_fft
    basis: Array = np.concatenate((np.cos(angles), -np.sin(angles))) * hann
    return basis
