"""What the transcribers of all models have in common."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .package import SpeechProgram
from .transcript import Token, Transcript

__all__ = ["Transcriber"]

_Self = TypeVar("_Self", bound="Transcriber")


class Transcriber(ABC):
    """A speech model that is ready to listen. One recording at a time; a context manager that closes it."""

    model: SpeechProgram
    sample_rate: int
    audio_seconds: float = 0.0
    """Of the recording, as far as it has been heard."""

    @abstractmethod
    def stream(
        self, audio: Iterable[npt.NDArray[np.float32]], progress: Callable[[float], object] | None = None
    ) -> Iterator[Token]:
        """Tokens as they are decoded. audio: blocks of float32 samples at `sample_rate`."""

    def transcribe(
        self, audio: Iterable[npt.NDArray[np.float32]], progress: Callable[[float], object] | None = None
    ) -> Transcript:
        """The tokens of a recording. audio: as for `stream`. progress: called with the seconds that are done."""
        start = time.perf_counter()
        result = Transcript(list(self.stream(audio, progress)))
        result.audio_seconds, result.seconds = self.audio_seconds, time.perf_counter() - start
        return result

    def close(self) -> None:
        """Frees the program and its weights."""
        self.model.close()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
