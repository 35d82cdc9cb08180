"""Greedy decoding of a token-and-duration transducer, over pieces of an encoder's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Emission", "GreedyDecoder"]

Frames = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Emission:
    """A token, the encoder frame it was emitted at, and by how many frames the decoder then moved on."""

    token: int
    frame: int
    duration: int


class GreedyDecoder:
    """Takes the most likely token and duration at every step.

    predict: token -> prediction [1, 1, J]; it advances the prediction network's state, which must be fresh.
    join: (frames [1, n, J], prediction) -> tokens [n], durations [n] (indices into `durations`), n = `lookahead`.

    While the blank is most likely, the prediction stays, so several frames are joined at once and walked through. Their
    number is fixed, with silence behind the last: one graph, which a GPU replays.
    """

    def __init__(
        self,
        predict: Callable[[int], Any],
        join: Callable[[Frames, Any], tuple[Any, Any]],
        *,
        durations: Sequence[int],
        blank: int,
        max_symbols: int,
        lookahead: int,
    ) -> None:
        self._predict, self._join = predict, join
        self.durations, self.blank = list(durations), blank
        self.max_symbols, self.lookahead = max_symbols, lookahead
        self.time = 0
        """The encoder frame that comes next, counted from the beginning of the recording."""
        self._prediction: Any = None
        self._symbols = 0

    def feed(self, frames: Frames, first: int) -> Iterator[Emission]:
        """Decodes frames [1, n, J], of which the first is frame `first` of the recording. A step may lead beyond them:
        then the next piece begins there."""
        end = first + frames.shape[1]
        padded = np.concatenate((frames, np.zeros((1, self.lookahead - 1, frames.shape[2]), np.float32)), axis=1)
        if self._prediction is None:
            self._prediction = self._predict(self.blank)
        base = -1
        tokens: Any = ()
        lengths: Any = ()
        while self.time < end:
            if not 0 <= self.time - base < len(tokens) or base < 0:
                base = self.time
                ahead = padded[:, base - first : base - first + self.lookahead]
                tokens, lengths = self._join(np.ascontiguousarray(ahead), self._prediction)
            at = self.time - base
            token, duration = int(tokens[at]), self.durations[int(lengths[at])]
            if token == self.blank:
                self._advance(max(duration, 1))
                continue
            self._symbols += 1
            emission = Emission(token, self.time, duration)
            # At one frame there is an end to everything.
            self._advance(duration or int(self._symbols >= self.max_symbols))
            yield emission
            self._prediction, base = self._predict(token), -1

    def _advance(self, frames: int) -> None:
        if frames:
            self.time, self._symbols = self.time + frames, 0
