"""Answers that keep to a JSON schema, a grammar or a regular expression: which tokens may come next.

llguidance follows the grammar over the bytes of the tokens. It is an optional package: executorch-ggml[grammar].
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError, LibraryError

from .schema_place import place_of

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

__all__ = ["Constraint", "JsonSchema", "constraint_of"]

JsonSchema = Mapping[str, Any] | bool | str
"""A JSON schema, as Python has it or as JSON text."""

_KEPT = "_constraint_vocabulary"

# A small model would write white space without end. Compact, common and indented documents need no more than this.
_JSON_DEFAULTS = {"whitespace_pattern": r"( |\n {0,16})?"}


def constraint_of(
    tokenizer: Tokenizer | None, json_schema: JsonSchema | None, grammar: str | None, regex: str | None
) -> Constraint | None:
    """The constraint of an answer, at its beginning; None if nothing was asked for.

    Raises InvalidArgumentError: more than one of them, or one that is wrong or that no text satisfies; it names the
    place. LibraryError: llguidance is not installed.
    """
    given = {"json_schema": json_schema, "grammar": grammar, "regex": regex}
    named = [name for name, value in given.items() if value is not None]
    if not named:
        return None
    if len(named) > 1:
        raise InvalidArgumentError(f"{' and '.join(named)}: an answer can keep to one of them only")
    if tokenizer is None:
        raise InvalidArgumentError(f"{named[0]} needs a tokenizer")
    return Constraint(tokenizer, named[0], given[named[0]])


class Constraint:
    """The state of one answer. kind: "json_schema", "grammar" or "regex", with its text (or a schema as Python has it).

    The errors are those of `constraint_of`.
    """

    def __init__(self, tokenizer: Tokenizer, kind: str, source: Any) -> None:
        llguidance = _llguidance()
        self._kind, self._tokenizer = kind, tokenizer
        self._matcher = llguidance.LLMatcher(_vocabulary(tokenizer), _grammar(kind, source), log_level=0)
        if self._matcher.is_error():
            raise InvalidArgumentError(f"{kind}: {self._reason()}{self._where(source)}")
        self._ends = np.zeros(len(tokenizer), bool)
        self._ends[sorted(tokenizer.end_ids)] = True
        self._tokens: list[int] = []

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """The tokens that may come next, one bit each, in words of 32. None: the text is complete, nothing may follow.

        An end token is among them where the text may end. Raises InvalidArgumentError when the text cannot go on: the
        grammar leads nowhere, or the vocabulary lacks the text that it wants.
        """
        if self._matcher.is_stopped() and not self._matcher.is_error():
            return None
        may_end = bool(self._matcher.is_accepting())
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        bits = np.unpackbits(mask, bitorder="little")[: len(self._tokenizer)].astype(bool)
        bits = np.pad(bits, (0, len(self._tokenizer) - bits.size))
        if not (bits & ~self._ends).any():
            if may_end:
                return None
            written = self._tokenizer.decode(self._tokens)
            raise InvalidArgumentError(
                f"{self._kind}: no token can follow {written[-60:]!r}: the {self._kind} leads nowhere there, or the "
                "vocabulary of the model lacks the text that it wants"
            )
        if not may_end:
            bits &= ~self._ends
        padded = np.pad(bits, (0, -bits.size % 32))
        return np.packbits(padded, bitorder="little").view("<u4").astype(np.uint32)

    def accept(self, token: int) -> None:
        """One of the allowed tokens was chosen; end tokens are not told."""
        self._tokens.append(token)
        if not self._matcher.consume_token(token):
            raise InvalidArgumentError(f"{self._kind}: token {token} was not allowed here. {self._reason()}")

    def _reason(self) -> str:
        return _bare(self._matcher.get_error())

    def _where(self, source: Any) -> str:
        if self._kind != "json_schema":
            return ""
        llguidance = _llguidance()

        def fault(schema: Any) -> str:
            text = _grammar("json_schema", schema)
            return _bare(llguidance.LLMatcher.validate_grammar(text, _vocabulary(self._tokenizer)))

        return f" (at {place_of(_schema(source), fault)})"


def _bare(error: str) -> str:
    """Without llguidance's dump of its state, and the places that it names for references only."""
    return re.split(r"<state>|\n *while processing", error)[0].strip()


def _grammar(kind: str, source: Any) -> str:
    """In llguidance's own form."""
    matcher = _llguidance().LLMatcher
    if kind == "json_schema":
        schema = _schema(source)
        # A bare `true` or `false` is a schema, too, which llguidance takes inside of another one only.
        whole = schema if isinstance(schema, dict) else {"allOf": [schema]}
        defaults = None if "x-guidance" in whole else _JSON_DEFAULTS
        return str(matcher.grammar_from_json_schema(json.dumps(whole), defaults=defaults))
    if not isinstance(source, str):
        raise InvalidArgumentError(f"{kind} is {source!r:.60}; it must be text")
    return str(matcher.grammar_from_regex(source) if kind == "regex" else matcher.grammar_from_lark(source))


def _schema(source: Any) -> Any:
    """The schema as JSON has it. Raises InvalidArgumentError."""
    try:
        if isinstance(source, str):
            source = json.loads(source)
        schema = json.loads(json.dumps(source, allow_nan=False, default=_plain))
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidArgumentError(f"json_schema is not JSON: {error}") from None
    if not isinstance(schema, (dict, bool)):
        raise InvalidArgumentError(f"json_schema is {schema!r:.60}; a schema is an object")
    return schema


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r:.60} is no JSON value")


def _llguidance() -> Any:
    # Late: an optional package.
    try:
        import llguidance
    except ImportError as error:
        raise LibraryError(
            "JSON schemas, grammars and regular expressions need llguidance: pip install 'executorch-ggml[grammar]' "
            f"({error})"
        ) from None
    return llguidance


class _Wrapped:
    """A tokenizer in the form that llguidance takes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        count = len(tokenizer)
        ends = tokenizer.end_ids
        self._tokenizer = tokenizer
        self.special_token_ids = [i for i in range(count) if i in ends or tokenizer.is_special(i)]
        special = set(self.special_token_ids)
        # 0xFF marks special tokens there. No text has that byte, so a token with it can never be right.
        self.tokens = [
            tokenizer.token_bytes(i, special=True) if i in special else _text(tokenizer.token_bytes(i))
            for i in range(count)
        ]
        # llguidance wants an end token. Where the model has none, it gets one beyond the vocabulary.
        self.ends = sorted(ends) or [count]
        if not ends:
            self.tokens.append(b"<end>")
            self.special_token_ids.append(count)
        self.eos_token_id, self.bos_token_id = self.ends[0], tokenizer.bos_id
        self._by_bytes: dict[bytes, int] | None = None

    def __call__(self, given: bytes | str) -> list[int]:
        """Tokens with exactly these bytes, as many as there are."""
        data = given.encode() if isinstance(given, str) else bytes(given)
        try:
            ids = self._tokenizer.encode(data.decode(), add_special=False, continues=True)
            if b"".join([self.tokens[i] for i in ids]) == data:
                return ids
        except (UnicodeDecodeError, InvalidArgumentError):
            pass
        return self._longest_first(data)

    def _longest_first(self, data: bytes) -> list[int]:
        if self._by_bytes is None:
            special = set(self.special_token_ids)
            self._by_bytes = {text: i for i, text in enumerate(self.tokens) if text and i not in special}
        longest = max(map(len, self._by_bytes), default=0)
        ids: list[int] = []
        while data:
            sizes = range(min(longest, len(data)), 0, -1)
            size = next((n for n in sizes if data[:n] in self._by_bytes), 0)
            if not size:
                break
            ids.append(self._by_bytes[data[:size]])
            data = data[size:]
        return ids


def _text(data: bytes) -> bytes:
    return b"" if b"\xff" in data else data


def _vocabulary(tokenizer: Tokenizer) -> Any:
    """llguidance's tokenizer, made once: it takes a second for the largest vocabularies."""
    kept = tokenizer.__dict__.get(_KEPT)
    if kept is None:
        llguidance = _llguidance()
        wrapped = _Wrapped(tokenizer)
        kept = llguidance.LLTokenizer(llguidance.TokenizerWrapper(wrapped), eos_token=wrapped.ends)
        tokenizer.__dict__[_KEPT] = kept
    return kept
