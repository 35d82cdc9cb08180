"""A streaming GGUF writer: the header first, then tensor data as it comes. Memory does not grow with the file."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from tests.support.gguf_layouts import ARRAY, BOOL, F32, I32, STRING, U32, Kv

ALIGNMENT = 32
U8, I8, U16, I16, U64, I64, F64 = 0, 1, 2, 3, 10, 11, 12
_PACK = {
    U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<?", U64: "<Q", I64: "<q",
    F64: "<d",
}  # fmt: skip


def _string(text: str | bytes) -> bytes:
    raw = text.encode("utf-8") if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: int, value: object) -> bytes:
    if kind == STRING:
        assert isinstance(value, (str, bytes))
        return _string(value)
    return struct.pack(_PACK[kind], value)


def encode_kv(kv: Kv) -> bytes:
    """One metadata entry as it stands in the file."""
    head = _string(kv.key) + struct.pack("<I", kv.type)
    if kv.type != ARRAY:
        return head + _value(kv.type, kv.value)
    assert isinstance(kv.value, Iterable)
    items = [_value(kv.element, item) for item in kv.value]
    return head + struct.pack("<IQ", kv.element, len(items)) + b"".join(items)


class GgufFile:
    """One file: construct with everything the header needs, then `write` the tensors in the order given."""

    def __init__(self, path: Path, metadata: list[Kv], tensors: list[tuple[str, tuple[int, ...], int, int]]) -> None:
        """tensors: (name, torch shape, ggml type number, bytes)."""
        self._file: BinaryIO = path.open("wb")
        self._left = 0
        header = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(metadata))]
        header += [encode_kv(kv) for kv in metadata]
        offset = 0
        for name, shape, kind, size in tensors:
            dims = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
            header.append(_string(name) + dims + struct.pack("<IQ", kind, offset))
            offset += -(-size // ALIGNMENT) * ALIGNMENT
        self._file.write(b"".join(header))
        self._pad()

    def _pad(self) -> None:
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def end_tensor(self) -> None:
        self._pad()

    def close(self) -> None:
        self._file.close()


def shard_path(path: Path, index: int, count: int) -> Path:
    """The name llama.cpp gives shard `index` (from 0) of a split file."""
    return path.with_name(f"{path.name.removesuffix('.gguf')}-{index + 1:05d}-of-{count:05d}.gguf")


def split_metadata(index: int, count: int, tensors: int) -> list[Kv]:
    return [
        Kv("split.no", U16, index),
        Kv("split.count", U16, count),
        Kv("split.tensors.count", I32, tensors),
    ]
