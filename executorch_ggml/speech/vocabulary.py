"""Pieces of text behind token ids, and JSON, as bytes that fit into a constant method of a `.pte`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from executorch_ggml.errors import FormatError

__all__ = ["Vocabulary", "decode_json", "decode_pieces", "encode_json", "encode_pieces"]


def encode_pieces(pieces: Sequence[bytes]) -> bytes:
    """u32 count, u32 length of each piece, then the pieces; little endian."""
    lengths = struct.pack(f"<{len(pieces) + 1}I", len(pieces), *map(len, pieces))
    return lengths + b"".join(pieces)


def decode_pieces(data: bytes) -> list[bytes]:
    """The inverse of `encode_pieces`. Raises FormatError when lengths and data do not add up."""
    if len(data) < 4:
        raise FormatError(f"vocabulary: {len(data)} bytes are too few for its count")
    (count,) = struct.unpack_from("<I", data)
    start = 4 + 4 * count
    if start > len(data):
        raise FormatError(f"vocabulary: {count} pieces announced in {len(data)} bytes")
    lengths = struct.unpack_from(f"<{count}I", data, 4)
    if start + sum(lengths) != len(data):
        raise FormatError(f"vocabulary: its pieces add up to {sum(lengths)} bytes, {len(data) - start} are there")
    pieces = []
    for length in lengths:
        pieces.append(data[start : start + length])
        start += length
    return pieces


def encode_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def decode_json(data: bytes) -> dict[str, Any]:
    """Raises FormatError when the bytes are no JSON object."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise FormatError(f"speech_config is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"speech_config is a {type(value).__name__}, not an object")
    return value


class Vocabulary:
    """Text of token ids. Pieces are UTF-8 fragments that carry their own spaces; control tokens are empty."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    def __len__(self) -> int:
        return len(self.pieces)

    def piece(self, token: int) -> bytes:
        """Bytes of a token; empty for ids beyond the table (the blank, tokens a model was given later)."""
        return self.pieces[token] if 0 <= token < len(self.pieces) else b""

    def text(self, tokens: Iterable[int]) -> str:
        """The text of a sequence, without the space that a first word begins with."""
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace").removeprefix(" ")
