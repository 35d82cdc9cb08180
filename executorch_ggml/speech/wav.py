"""Checks the parts of a WAV's header that libsndfile trusts: its lengths, and whether its numbers fit each other.

Half a recording looks like a whole one in every other way, so a file that is cut off is an error. A recorder that was
switched off leaves a data chunk of length 0 with samples behind it; these are read to the end of the file.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

from executorch_ggml.errors import AudioError
from executorch_ggml.errors.files import open_regular

__all__ = ["Unfinished", "check_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_STREAM = 0xFFFFFF00  # streams of unknown length say so, or a little more


class Unfinished:
    """A file with another data length in its header, for libsndfile in place of the file itself."""

    def __init__(self, path: str, at: int, length: int) -> None:
        self._file: BinaryIO = open_regular(path)
        self._at, self._bytes = at, struct.pack("<I", length)
        self.name = path

    def read(self, count: int = -1) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(count))
        for i, value in enumerate(self._bytes):
            if 0 <= self._at + i - start < len(data):
                data[self._at + i - start] = value
        return bytes(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def check_wav(path: str) -> tuple[int, int] | None:
    """For a WAV with data length 0 although samples follow: the place of that length, and its right value.

    None for every other file. Raises AudioError for a WAV that is cut off, or has an impossible format.
    """
    with open_regular(path) as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        size = file.seek(0, 2)
        position = 12
        while position + 8 <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(8))
            if name == b"fmt " and length >= 16:
                _check_format(path, file.read(min(length, 40)))
            if name == b"data":
                rest = size - position - 8
                if length == 0 and rest and not _chunks(file, position + 8, size):
                    return position + 4, min(rest, 0xFFFFFFFF)
                if 0 < length < _STREAM and length > rest:
                    raise AudioError(
                        f"{path}: the file is cut off: {length} bytes of samples announced, {rest} are there"
                    )
                return None
            position += 8 + length + (length & 1)
    return None


def _check_format(path: str, fmt: bytes) -> None:
    if len(fmt) < 16:
        return  # cut off; libsndfile says so
    tag, channels, _, _, align, bits = struct.unpack("<HHIIHH", fmt[:16])
    if tag == _EXTENSIBLE and len(fmt) >= 26:
        (tag,) = struct.unpack("<H", fmt[24:26])
    if tag in (_PCM, _FLOAT) and channels and align != channels * (-(-bits // 8)):
        raise AudioError(
            f"{path}: the header contradicts itself: {channels} samples of {bits} bits do not take {align} bytes"
        )


def _chunks(file: Any, position: int, size: int) -> bool:
    """Whether the rest is chunks up to the end, and not samples."""
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if not all(0x20 <= byte < 0x7F for byte in name):
            return False
        position += 8 + length + (length & 1)
    return position in (size, size + 1)
