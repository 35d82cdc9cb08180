"""Tokens to text, one token at a time: text comes out as soon as it is certain, never half a character."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Protocol


class Pieces(Protocol):
    """The part of a tokenizer that a stream needs."""

    @property
    def strips_leading_space(self) -> bool: ...

    def is_special(self, token: int) -> bool: ...

    def token_bytes(self, token: int, special: bool = False) -> bytes: ...


class StreamDecoder:
    """Decodes a sequence incrementally: ``push(id)`` returns the text that became certain, ``flush()`` the rest.

    A character with bytes in several tokens appears with the last of them; bytes that are not UTF-8
    become U+FFFD. ``previous``: the token before the first one, ``None`` at the start of a text. At the start and after
    a special token, the space that a SentencePiece vocabulary prefixes is dropped again, unless ``verbatim``.
    """

    def __init__(
        self, pieces: Pieces, previous: int | None = None, special: bool = False, verbatim: bool = False
    ) -> None:
        self._pieces = pieces
        self._special = special
        self._strips = pieces.strips_leading_space and not verbatim
        self._strip = self._strips and (previous is None or pieces.is_special(previous))
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that became certain with this token."""
        piece = self._pieces.token_bytes(token, special=self._special)
        if self._strips:
            if self._pieces.is_special(token):
                self._strip = True
            elif piece:
                if self._strip and piece.startswith(b" "):
                    piece = piece[1:]
                self._strip = False
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """The text of an unfinished character: U+FFFD, or nothing. The stream can go on afterwards."""
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


class StopStrings:
    """Watches streamed text for stop strings that may span pieces.

    ``push(text)`` returns ``(text to show, stopped)``; text that could still become a stop string is held back, and a
    stop string itself is never shown. ``flush()`` returns the held-back text.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.matched: str | None = None

    def push(self, text: str) -> tuple[str, bool]:
        """Text to show, and whether a stop string ended it."""
        if not self._stops:
            return text, False
        self._held += text
        found = [(at, -len(stop), stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, _, self.matched = min(found)  # the earliest; of two at one place, the longest
            shown, self._held = self._held[:at], ""
            return shown, True
        keep = max((self._tail(stop) for stop in self._stops), default=0)
        cut = len(self._held) - keep
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown, False

    def flush(self) -> str:
        """The text that was held back."""
        held, self._held = self._held, ""
        return held

    def _tail(self, stop: str) -> int:
        """Length of the longest end of the held text that begins ``stop``."""
        for length in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:length]):
                return length
        return 0
