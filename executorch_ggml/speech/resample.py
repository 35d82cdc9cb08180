"""Another sample rate, block by block: a windowed sinc at the positions of the new samples."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["Resampler"]

# Zero crossings of the sinc on each side, and the Kaiser window's shape: 80 dB of attenuation, 90 % of the band.
_CROSSINGS = 32
_BETA = 8.0
_ROLLOFF = 0.94
_AT_ONCE = 4096


class Resampler:
    """Feeds on mono float32 blocks at `source` Hz, gives blocks at `target` Hz, without a delay.

    Sample k of the result is the signal at time k / target, up to and with the time of the last sample that came in.
    Blocks may be cut anywhere: the result is the same to the bit.
    """

    def __init__(self, source: int, target: int) -> None:
        common = math.gcd(source, target)
        self.up, self.down = target // common, source // common
        self.cutoff = min(1.0, self.up / self.down) * (_ROLLOFF if self.up != self.down else 1.0)
        self.reach = math.ceil(_CROSSINGS / self.cutoff)
        self.held: npt.NDArray[np.float32] = np.zeros(self.reach, np.float32)
        self.first = -self.reach  # position of held[0] in the source
        self.received = 0
        self.made = 0

    def push(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The samples that can be computed now: float32 [m]."""
        if self.up == self.down:
            return block
        self.received += len(block)
        self.held = np.concatenate((self.held, block))
        # Sample k lies at k * down / up and needs `reach` source samples on both sides of it.
        return self._make((self.received - 1 - self.reach) * self.up // self.down + 1)

    def finish(self) -> npt.NDArray[np.float32]:
        """The rest, as if silence followed."""
        if self.up == self.down or not self.received:
            return np.zeros(0, np.float32)
        self.held = np.concatenate((self.held, np.zeros(self.reach + 1, np.float32)))
        return self._make((self.received * self.up - 1) // self.down + 1)

    def _make(self, end: int) -> npt.NDArray[np.float32]:
        parts = [np.zeros(0, np.float32)]
        while self.made < end:
            count = min(_AT_ONCE, end - self.made)
            places = np.arange(self.made, self.made + count, dtype=np.int64) * self.down
            whole, phase = places // self.up, places % self.up
            taps = np.arange(-self.reach + 1, self.reach + 1)
            window = self.held[(whole - self.first)[:, None] + taps]
            parts.append(np.einsum("kt,kt->k", window, self._kernel(taps, phase), optimize=False))
            self.made += count
        keep = max(0, self.made * self.down // self.up - self.reach + 1 - self.first)
        self.held, self.first = self.held[keep:], self.first + keep
        return np.concatenate(parts)

    def _kernel(self, taps: npt.NDArray[np.int64], phase: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Weights of the source samples around each new one: [k, taps]. Phases repeat, so each is computed once."""
        phases, which = np.unique(phase, return_inverse=True)
        distance = taps - (phases / self.up)[:, None]
        inside = np.clip(1.0 - (distance / self.reach) ** 2, 0.0, None)
        shape = np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
        kernel: npt.NDArray[np.float32] = (self.cutoff * np.sinc(self.cutoff * distance) * shape).astype(np.float32)
        return kernel[which]
