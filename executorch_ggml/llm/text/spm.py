"""SentencePiece-style encoding of plain text: the pair with the best score merges first, bytes for the rest.

Characters are the initial symbols. Among adjacent pairs that form a token, the one with the highest score (leftmost on
a tie) becomes that token. This repeats until none is left. A symbol that is no token becomes the ``<0xXX>`` tokens of
its UTF-8 bytes, or the unknown token if the vocabulary has no bytes.
"""

from __future__ import annotations

import heapq

from .vocabulary import BYTE, CONTROL, UNKNOWN, Vocabulary

SPACE = "\u2581"


class SpmEncoder:
    """Encodes fragments between special tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._add_space_prefix = vocabulary.add_space_prefix
        self._unk_id = vocabulary.unk_id
        # SentencePiece keeps control, unknown and byte pieces out of the merges: text cannot spell them.
        self._ids = {
            text: i for text, i in vocabulary.ids.items() if vocabulary.types[i] not in (CONTROL, UNKNOWN, BYTE)
        }
        self._scores = vocabulary.scores
        self._longest = max((len(text) for text in self._ids), default=0)
        self._bytes = [vocabulary.ids.get(f"<0x{b:02X}>") for b in range(256)]

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Ids of ``text``. ``after_special``: it begins the sequence or follows a special token, which is where
        vocabularies with ``add_space_prefix`` put a space."""
        if after_special and self._add_space_prefix:
            text = " " + text
        symbols: list[str] = list(text.replace(" ", SPACE))
        n = len(symbols)
        before = list(range(-1, n - 1))
        after = [*range(1, n), -1]
        heap: list[tuple[float, int, int]] = []  # (-score, left, length of both): the heap pops the best, leftmost
        ids, scores, longest = self._ids, self._scores, self._longest

        def consider(left: int, right: int) -> None:
            length = len(symbols[left]) + len(symbols[right])
            if length <= longest:
                token = ids.get(symbols[left] + symbols[right])
                if token is not None:
                    heapq.heappush(heap, (-scores[token], left, length))

        for i in range(1, n):
            consider(i - 1, i)
        while heap:
            _, left, length = heapq.heappop(heap)
            right = after[left] if symbols[left] else -1
            if right < 0 or len(symbols[left]) + len(symbols[right]) != length:
                continue  # one of the two has merged with another symbol since
            symbols[left] += symbols[right]
            symbols[right] = ""
            after[left] = after[right]
            if after[left] >= 0:
                before[after[left]] = left
                consider(left, after[left])
            if before[left] >= 0:
                consider(before[left], left)

        out: list[int] = []
        for symbol in symbols:
            if not symbol:
                continue
            token = ids.get(symbol)
            if token is None:
                out += self._fallback(symbol)
            else:
                out.append(token)
        return out

    def _fallback(self, symbol: str) -> list[int]:
        ids = [self._bytes[b] for b in symbol.encode()]
        known = [i for i in ids if i is not None]
        if len(known) == len(ids):
            return known
        return [] if self._unk_id is None else [self._unk_id]
