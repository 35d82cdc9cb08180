"""Typed access to a GGUF's metadata that remembers the keys that were read.

A model definition turns metadata into numbers of its graph. So another GGUF must have the same values of these keys to
be run by that graph: `Metadata.used` becomes the graph's expectations.
"""

from __future__ import annotations

from collections.abc import Mapping

from executorch_ggml.errors import FormatError, UnsupportedError
from executorch_ggml.gguf.header import GgufHeader, Value

__all__ = ["MAX_FLOAT", "Metadata"]

_MAX_INT = (1 << 31) - 1  # of the graph's own integers
MAX_FLOAT = 3.4028234663852886e38
"""The largest float32; numbers of the graph are stored as such."""


class Metadata:
    """The metadata of one model. Keys given without a dot-prefixed namespace belong to the architecture."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.used: dict[str, Value] = {}
        self.architecture = self.string("general.architecture")

    def _key(self, name: str) -> str:
        return name if name.startswith("general.") else f"{self.architecture}.{name}"

    def _take(self, name: str) -> tuple[str, Value | None]:
        key = self._key(name)
        value = self.header.get(key)
        if value is not None:
            self.used[key] = value
        return key, value

    def _missing(self, key: str) -> FormatError:
        return FormatError(f"{self.header.path}: metadata key {key!r} is missing; the model cannot be built without it")

    def _mistyped(self, key: str, want: str, value: Value) -> FormatError:
        shown = f"{value!r:.60}"
        return FormatError(f"{self.header.path}: metadata key {key!r} should be {want}, but is {shown}")

    def string(self, name: str, default: str | None = None) -> str:
        """A string. Raises FormatError when it is missing (without default) or no string."""
        key = name if name == "general.architecture" else self._key(name)
        value = self.header.get(key)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if not isinstance(value, str):
            raise self._mistyped(key, "a string", value)
        self.used[key] = value
        return value

    def integer(self, name: str, default: int | None = None, *, minimum: int = 1, maximum: int = _MAX_INT) -> int:
        """An integer in minimum..maximum. Raises FormatError when missing (without default), mistyped or outside."""
        key, value = self._take(name)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if isinstance(value, list) and value and all(v == value[0] for v in value):
            value = value[0]  # some converters write one number a layer even where all agree
        if isinstance(value, list):
            raise UnsupportedError(
                f"{self.header.path}: metadata key {key!r} differs from layer to layer ({value!r:.60}); "
                f"{self.architecture} is built from equal layers here"
            )
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._mistyped(key, "an integer", value)
        if not minimum <= value <= maximum:
            raise FormatError(
                f"{self.header.path}: metadata key {key!r} is {value}, which is outside {minimum}..{maximum}"
            )
        return value

    def integers(self, name: str, count: int, *, minimum: int = 0, maximum: int = _MAX_INT) -> tuple[int, ...]:
        """An integer for each of `count` layers; one integer stands for all. Raises as `integer` does."""
        key, value = self._take(name)
        if value is None:
            raise self._missing(key)
        values = value if isinstance(value, list) else [value] * count
        if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
            raise self._mistyped(key, "an integer or an array of integers", value)
        if len(values) != count:
            raise FormatError(f"{self.header.path}: metadata key {key!r} has {len(values)} elements for {count} layers")
        numbers = tuple(int(v) for v in values)
        if not all(minimum <= v <= maximum for v in numbers):
            raise FormatError(
                f"{self.header.path}: metadata key {key!r} is {value!r:.60}, which is outside {minimum}..{maximum}"
            )
        return numbers

    def number(self, name: str, default: float | None = None, *, positive: bool = True) -> float:
        """A finite float (an integer is accepted) that float32 can hold.

        Raises FormatError when missing (without default) or invalid.
        """
        key, value = self._take(name)
        if value is None:
            if default is None:
                raise self._missing(key)
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._mistyped(key, "a number", value)
        if not abs(value) <= MAX_FLOAT or (positive and value <= 0):
            want = "a number above 0" if positive else "a number"
            raise FormatError(f"{self.header.path}: metadata key {key!r} is {value}, want {want} that float32 can hold")
        return float(value)

    def flags(self, name: str, count: int) -> tuple[bool, ...] | int | None:
        """A bool for each of `count` layers, or a period (one integer), or None when the key is absent."""
        key, value = self._take(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        if not isinstance(value, list) or not all(isinstance(v, (bool, int)) for v in value):
            raise self._mistyped(key, "an integer or an array of booleans", value)
        if len(value) != count:
            raise FormatError(f"{self.header.path}: metadata key {key!r} has {len(value)} elements for {count} layers")
        return tuple(bool(v) for v in value)

    def peek(self, name: str) -> Value | None:
        """A value that does not enter the graph: not recorded."""
        return self.header.get(self._key(name))

    def ids(self, *names: str, limit: int) -> list[int]:
        """The token ids that stand under `tokenizer.ggml.<name>`, in order, each once. Not recorded.

        Ids that the vocabulary of `limit` tokens does not have are left out, as llama.cpp does: they name no token.
        """
        found = []
        for name in names:
            value = self.header.get(f"tokenizer.ggml.{name}")
            if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit and value not in found:
                found.append(value)
        return found

    def vocabulary(self) -> int:
        """Rows of the embedding; the tokenizer must have as many tokens, or ids would mean something else."""
        header = self.header
        info = header.tensors.get("token_embd.weight")
        if info is None or len(info.shape) != 2:
            found = "is missing" if info is None else f"has shape {info.shape}"
            raise FormatError(f"{header.path}: tensor 'token_embd.weight' {found}; is this a language model's GGUF?")
        rows = info.shape[0]
        tokens = header.length("tokenizer.ggml.tokens") if "tokenizer.ggml.tokens" in header else rows
        if tokens != rows:
            raise FormatError(
                f"{header.path}: tokenizer.ggml.tokens has {tokens} tokens, but token_embd.weight has {rows} rows"
            )
        return rows

    def refuse_unread(self, names: Mapping[str, Value | None]) -> None:
        """Refuses keys that change the arithmetic and that nobody read (names: key -> the value that changes nothing).

        Raises UnsupportedError naming the key.
        """
        for name, neutral in names.items():
            key, value = self._key(name), self.header.get(self._key(name))
            if value is not None and value != neutral and key not in self.used:
                raise UnsupportedError(
                    f"{self.header.path}: metadata key {key!r} is {value!r:.60}; a {self.architecture} with it is not "
                    "supported, and ignoring it would give wrong results"
                )
