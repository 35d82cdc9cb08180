"""Finds special tokens in text, so that the text between them is encoded as plain text."""

from __future__ import annotations

from .vocabulary import USER_DEFINED, Vocabulary

# Accepted by C's isspace in the "C" locale; the strips are defined on it.
_SPACE = " \t\n\v\f\r"


class Partitioner:
    """Cuts text at special tokens. A longer token is looked for in the whole text before any shorter one."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        ids = vocabulary.special_ids()
        texts = vocabulary.tokens
        self._all = sorted(((texts[i], i) for i in ids), key=lambda item: -len(item[0].encode()))
        # Added tokens are text that a user may write; control tokens come only from a caller who asks for them.
        self._user = [(text, i) for text, i in self._all if vocabulary.types[i] == USER_DEFINED]
        self._strip_left = vocabulary.strip_left
        self._strip_right = vocabulary.strip_right

    def split(self, text: str, parse_special: bool) -> list[str | int]:
        """Fragments in order: ``str`` to encode, ``int`` token ids. Without ``parse_special`` only user-defined tokens
        are recognised, so text from outside cannot forge a turn."""
        fragments: list[str | int] = [text] if text else []
        for special, token in self._all if parse_special else self._user:
            if special in text:
                fragments = [part for item in fragments for part in self._cut(item, special, token)]
        return fragments

    def _cut(self, fragment: str | int, special: str, token: int) -> list[str | int]:
        if isinstance(fragment, int) or special not in fragment:
            return [fragment]
        parts: list[str | int] = []
        pieces = fragment.split(special)
        for i, piece in enumerate(pieces):
            if i > 0:
                parts.append(token)
                if token in self._strip_right:
                    piece = piece.lstrip(_SPACE)
            if i + 1 < len(pieces) and token in self._strip_left:
                piece = piece.rstrip(_SPACE)
            if piece:
                parts.append(piece)
        return parts
