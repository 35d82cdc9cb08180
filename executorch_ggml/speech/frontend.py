"""From blocks of samples to log-mel frames, and their statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import AudioError

__all__ = ["FeatureStream", "Statistics"]

Array = npt.NDArray[np.float32]


class FeatureStream:
    """Log-mel frames of a recording, block by block; frame t is centred on sample t * hop.

    log_mel: samples [1, hop * T + window - hop] -> [1, T, mels] for T from `least` to at_once + least - 1. A recording
    has one frame for each whole hop, and at least `shortest`, for which silence is appended.
    """

    def __init__(
        self,
        log_mel: Callable[[Array], Any],
        *,
        hop: int,
        window: int,
        preemphasis: float,
        at_once: int,
        shortest: int,
        least: int = 2,
    ) -> None:
        self._log_mel, self.hop, self.window = log_mel, hop, window
        self.preemphasis, self.at_once, self.shortest, self.least = preemphasis, at_once, shortest, least

    def __call__(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Frames [n, mels].

        Raises AudioError for blocks that are not mono or not floats, samples that are not finite, and no samples.
        """
        held = np.zeros(self.window // 2, np.float32)
        last = np.float32(0.0)
        received = made = 0
        for given in blocks:
            block = np.asarray(given)
            what = _fault(block)
            if what:
                raise AudioError(f"a block of audio, {received} samples into it, has {what}")
            if not len(block):
                continue
            block = block.astype(np.float32, copy=False)
            before = np.concatenate(([last], block[:-1]))
            held = np.concatenate((held, block - np.float32(self.preemphasis) * before))
            last, received = block[-1], received + len(block)
            # The rest at the end must not be less than the method takes, so that much waits.
            while self._complete(held) >= self.at_once + (self.least if self.least > 1 else 0):
                yield self._frames(held, self.at_once)
                held, made = held[self.at_once * self.hop :], made + self.at_once
        if not received:
            raise AudioError("there are no samples")
        total = max(received // self.hop, self.shortest)
        held = np.concatenate((held, np.zeros(total * self.hop - received + self.window, np.float32)))
        while made < total:
            count = total - made if total - made < self.at_once + self.least else self.at_once
            yield self._frames(held, count)
            held, made = held[count * self.hop :], made + count

    def _complete(self, held: Array) -> int:
        return (len(held) - self.window) // self.hop + 1 if len(held) >= self.window else 0

    def _frames(self, held: Array, count: int) -> Array:
        samples = held[: self.hop * count + self.window - self.hop]
        frames: Array = self._log_mel(samples[None])[0]
        return frames


def _fault(block: np.ndarray[Any, Any]) -> str:
    """The fault of a block, or nothing."""
    if block.ndim != 1:
        return f"shape {list(block.shape)}, not [n]"
    if block.dtype.kind != "f":  # integers have a scale of their own; mono_blocks knows it
        return f"samples of type {block.dtype}, not float32 (mono_blocks converts)"
    return "" if np.isfinite(block).all() else "samples that are not finite numbers"


class Statistics:
    """Mean and standard deviation of each mel bin over a whole recording, in one pass."""

    def __init__(self, mels: int) -> None:
        self.count = 0
        self.mean = np.zeros(mels)
        self.squares = np.zeros(mels)

    def add(self, frames: Array) -> None:
        """Merges frames [n, mels]; sums of squares are taken around the mean, where they do not cancel."""
        block = frames.astype(np.float64)
        mean, count = block.mean(axis=0), self.count + len(block)
        delta = mean - self.mean
        self.squares += ((block - mean) ** 2).sum(axis=0) + delta**2 * self.count * len(block) / count
        self.mean += delta * len(block) / count
        self.count = count

    def normalise(self, frames: Array) -> Array:
        """Zero mean and unit variance; as NeMo has it, 1e-5 is added to the deviation."""
        deviation = np.sqrt(self.squares / max(self.count - 1, 1)) + 1e-5
        return ((frames - self.mean) / deviation).astype(np.float32)
