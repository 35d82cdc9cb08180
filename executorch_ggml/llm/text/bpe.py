"""Byte-pair encoding of plain text (no special tokens), on the ``tokenizers`` library's merge engine."""

from __future__ import annotations

import re

from tokenizers import Regex, models, pre_tokenizers
from tokenizers import Tokenizer as Engine

from executorch_ggml.errors import FormatError

from .vocabulary import BYTE, CONTROL, UNKNOWN, Vocabulary

__all__ = ["BpeEncoder", "byte_alphabet"]


def byte_alphabet() -> dict[str, int]:
    """GPT-2's byte alphabet: character -> byte. Printable Latin-1 stands for itself, the other bytes for U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {chr(b): b for b in printable}
    others = (b for b in range(256) if chr(b) not in alphabet)
    alphabet.update({chr(0x100 + i): b for i, b in enumerate(others)})
    return alphabet


class BpeEncoder:
    """Encodes fragments between special tokens."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        pre = vocabulary.pre
        # Text that merely looks like a control token must never become one, so these stay out of the merge engine.
        # One that a merge produces has to stay in, or the engine refuses the merge list.
        hidden = {i for i, kind in enumerate(vocabulary.types) if kind in (CONTROL, UNKNOWN)}
        if hidden:
            merged = {left + right for left, right in vocabulary.merges}
            hidden = {i for i in hidden if vocabulary.tokens[i] not in merged and len(vocabulary.tokens[i]) > 1}
        ids = {text: i for text, i in vocabulary.ids.items() if i not in hidden}
        for i, (left, right) in enumerate(vocabulary.merges):
            for text in (left, right, left + right):
                if text not in ids:
                    raise FormatError(f"tokenizer.ggml.merges[{i}] needs {text!r}, which is no token")
        try:
            model = models.BPE(
                vocab=ids,
                merges=vocabulary.merges,
                byte_fallback=not pre.byte_level,
                ignore_merges=pre.ignore_merges,
            )
            self._engine = Engine(model)
            steps: list[pre_tokenizers.PreTokenizer] = [
                pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre.patterns
            ]
            if pre.byte_level:
                steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
            self._engine.pre_tokenizer = pre_tokenizers.Sequence(steps)
        except Exception as error:  # the library raises bare Exceptions
            raise FormatError(f"tokenizer.ggml.tokens and .merges do not make a BPE model: {error}") from error
        self._newlines = self._newline_runs() if pre.newline_runs else None

    def encode(self, text: str, after_special: bool) -> list[int]:
        """Ids of ``text``. ``after_special`` is the SentencePiece encoder's; it makes no difference here."""
        if self._vocabulary.pre.escape_spaces:
            text = text.replace(" ", "\u2581")
        if self._newlines is None:
            return list(self._engine.encode(text, add_special_tokens=False).ids)
        out: list[int] = []
        for run in re.findall(r"\n+|[^\n]+", text):
            whole = self._newlines.get(run)
            out += [whole] if whole is not None else self._engine.encode(run, add_special_tokens=False).ids
        return out

    def _newline_runs(self) -> dict[str, int]:
        return {text: i for text, i in self._vocabulary.ids.items() if not text.strip("\n")}


def piece_bytes(vocabulary: Vocabulary, alphabet: dict[str, int], token: int) -> bytes:
    """The bytes a normal token stands for. A character outside the byte alphabet stands for itself."""
    text = vocabulary.tokens[token]
    if not vocabulary.pre.byte_level or vocabulary.types[token] == BYTE:
        return text.replace("\u2581", " ").encode()
    return b"".join(bytes([alphabet[c]]) if c in alphabet else c.encode() for c in text)
