"""Text to token ids and back, from the metadata of a GGUF file alone. Imports neither torch nor native code of ours."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from executorch_ggml.errors import FormatError, InvalidArgumentError, ValueRangeError
from executorch_ggml.runtime.gguf_file import GGUFFile

from .bpe import BpeEncoder, byte_alphabet, piece_bytes
from .chat import ChatTemplate, Message, select_template
from .partition import Partitioner
from .spm import SpmEncoder
from .stream import StreamDecoder
from .token_ids import token_id
from .vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary

if TYPE_CHECKING:
    from executorch_ggml.runtime.gguf_file import GGUFFile


class Tokenizer:
    """Encodes and decodes with a GGUF file's vocabulary; renders its chat template.

    Immutable and safe to share between threads.
    """

    def __init__(self, vocabulary: Vocabulary, templates: Mapping[str, str] | None = None) -> None:
        self.vocabulary = vocabulary
        self._templates = dict(templates or {})
        self._compiled: dict[str, ChatTemplate] = {}
        self._partitioner = Partitioner(vocabulary)
        self._encoder = SpmEncoder(vocabulary) if vocabulary.is_spm else BpeEncoder(vocabulary)
        self._alphabet = byte_alphabet()
        for token, kind in enumerate(vocabulary.types):
            if kind == BYTE:
                _byte_of(vocabulary.tokens[token], token)

    @classmethod
    def from_gguf(cls, source: str | os.PathLike[str] | GGUFFile) -> Tokenizer:
        """``source``: a path, or an open `GGUFFile`.

        Raises `FormatError` for malformed tokenizer metadata and `UnsupportedError` for a tokenizer
        model or pre-tokenizer that is not known here.
        """
        if isinstance(source, (str, os.PathLike)):
            with GGUFFile(source) as file:
                return cls.from_metadata(file.metadata)
        return cls.from_metadata(source.metadata)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Tokenizer:
        """From the GGUF key-value pairs (arrays as lists or numpy arrays)."""
        return cls(Vocabulary.from_metadata(metadata), select_template(metadata))

    # ---------------------------------------------------------------- facts

    def __len__(self) -> int:
        return len(self.vocabulary.tokens)

    @property
    def bos_id(self) -> int | None:
        return self.vocabulary.bos_id

    @property
    def eos_id(self) -> int | None:
        return self.vocabulary.eos_id

    @property
    def end_ids(self) -> frozenset[int]:
        """Ids that end a generation (end of text, of turn, of message)."""
        return self.vocabulary.end_ids

    @property
    def strips_leading_space(self) -> bool:
        """Encoding puts a space before the text, so decoding takes one away (SentencePiece)."""
        return self.vocabulary.is_spm and self.vocabulary.add_space_prefix

    def is_special(self, token: int) -> bool:
        """Control and unknown tokens: not text, hidden by `decode` unless asked for."""
        return self.vocabulary.types[self._check(token)] in (CONTROL, UNKNOWN)

    # ---------------------------------------------------------------- encode

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = False, continues: bool = False
    ) -> list[int]:
        """Token ids of ``text``.

        ``add_special`` puts the bos and eos tokens where the vocabulary wants them. ``parse_special`` recognises
        control tokens written out in the text (``<|im_start|>``): for rendered chat templates, not for foreign text.
        ``continues``: other text stands before it, so a SentencePiece vocabulary puts no space there.
        """
        if not isinstance(text, str):
            raise InvalidArgumentError(f"the text is {type(text).__name__}, not str")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            reason = f"the text is not valid Unicode at character {error.start}: {error.reason}"
            raise InvalidArgumentError(reason) from None
        vocabulary = self.vocabulary
        ids: list[int] = []
        if add_special and vocabulary.add_bos and vocabulary.bos_id is not None:
            ids.append(vocabulary.bos_id)
        after_special = not continues
        for fragment in self._partitioner.split(text, parse_special):
            if isinstance(fragment, int):
                ids.append(fragment)
                after_special = True
            else:
                ids += self._encoder.encode(fragment, after_special)
                after_special = False
        if add_special and vocabulary.add_eos and vocabulary.eos_id is not None:
            ids.append(vocabulary.eos_id)
        return ids

    # ---------------------------------------------------------------- decode

    def token_bytes(self, token: int, special: bool = False) -> bytes:
        """The bytes a token adds to the text; empty for control tokens unless ``special``."""
        vocabulary = self.vocabulary
        kind = vocabulary.types[self._check(token)]
        if kind in (CONTROL, UNKNOWN):
            return vocabulary.tokens[token].encode() if special else b""
        if kind == USER_DEFINED:
            return vocabulary.tokens[token].encode()
        if kind == BYTE:
            return bytes([_byte_of(vocabulary.tokens[token], token)])
        if kind != NORMAL:
            return b""  # unused and undefined tokens carry no text
        if vocabulary.is_spm:
            return vocabulary.tokens[token].replace("\u2581", " ").encode()
        return piece_bytes(vocabulary, self._alphabet, token)

    def decode(self, tokens: Iterable[int], *, special: bool = False) -> str:
        """Text of a whole sequence; bytes that are not UTF-8 become U+FFFD. ``special`` writes control tokens out."""
        stream = self.stream(special=special)
        return "".join([stream.push(token_id(token, "a token")) for token in tokens]) + stream.flush()

    def stream(self, previous: int | None = None, *, special: bool = False, verbatim: bool = False) -> StreamDecoder:
        """A decoder that takes one token at a time; ``previous`` is the last token before them, if any.

        ``verbatim`` keeps a space at the beginning that encoding may have put there.
        """
        return StreamDecoder(self, previous, special, verbatim)

    # ---------------------------------------------------------------- chat

    @property
    def chat_template(self) -> str | None:
        """The source of the file's (default) chat template."""
        return self._templates.get("default")

    def render_chat(self, messages: list[Message], *, template: str = "default", **options: Any) -> str:
        """The prompt text for a conversation; see `ChatTemplate.render` for ``options`` and errors.

        ``template``: the name of one of the file's templates, or the source of another.
        """
        compiled = self._compiled.get(template)
        if compiled is None:
            texts = self.vocabulary.tokens
            compiled = ChatTemplate.select(
                self._templates,
                template,
                bos_token="" if self.bos_id is None else texts[self.bos_id],
                eos_token="" if self.eos_id is None else texts[self.eos_id],
            )
            self._compiled[template] = compiled
        return compiled.render(messages, **options)

    def encode_chat(self, messages: list[Message], **options: Any) -> list[int]:
        """Token ids of the rendered conversation. A bos the template wrote is not doubled."""
        text = self.render_chat(messages, **options)
        ids = self.encode(text, add_special=False, parse_special=True)
        if self.vocabulary.add_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids.insert(0, self.bos_id)
        return ids

    def _check(self, token: int) -> int:
        if not 0 <= token < len(self.vocabulary.tokens):
            raise ValueRangeError(f"token id {token} is outside the vocabulary (0..{len(self.vocabulary.tokens) - 1})")
        return token


def _byte_of(text: str, token: int) -> int:
    """Byte tokens are spelt ``<0xXX>``."""
    found = re.fullmatch("<0x([0-9A-Fa-f]{2})>", text)
    if found is not None:
        return int(found[1], 16)
    raise FormatError(f"tokenizer.ggml.tokens[{token}] is a byte token, but its text is {text!r}; expected '<0xXX>'")
