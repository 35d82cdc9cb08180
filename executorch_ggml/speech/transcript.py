"""What comes out: tokens with times, and the text they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Token", "Transcript", "Word"]


@dataclass(frozen=True)
class Token:
    """A token and when it was heard.

    Attributes:
        id: its number in the vocabulary.
        piece: its bytes, a fragment of UTF-8.
        start: in seconds.
        end: in seconds.
    """

    id: int
    piece: bytes
    start: float
    end: float


@dataclass(frozen=True)
class Word:
    """A run of tokens up to the next that begins with a space."""

    text: str
    start: float
    end: float


@dataclass
class Transcript:
    """The tokens of a recording.

    Attributes:
        tokens: in order.
        audio_seconds: length of the recording.
        seconds: the time that transcribing took.
    """

    tokens: list[Token] = field(default_factory=list)
    audio_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """All tokens as text."""
        return _text(self.tokens)

    @property
    def ids(self) -> list[int]:
        """The tokens' numbers."""
        return [token.id for token in self.tokens]

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of audio: below 1 keeps up with a speaker."""
        return self.seconds / self.audio_seconds if self.audio_seconds else 0.0

    def words(self) -> Iterator[Word]:
        """Words with the time of their first token's start and last token's end."""
        run: list[Token] = []
        for token in self.tokens:
            if run and token.piece[:1].isspace():
                yield _word(run)
                run = []
            run.append(token)
        if run:
            yield _word(run)


def _text(tokens: Sequence[Token]) -> str:
    return b"".join(token.piece for token in tokens).decode("utf-8", "replace").strip()


def _word(tokens: Sequence[Token]) -> Word:
    return Word(_text(tokens), tokens[0].start, max(token.end for token in tokens))
