"""The header of a GGUF file (metadata and tensor table), read without native code.

Exporting a model needs only the header, so it works without the runtime library. It costs the same for 1 MB and 100 GB
of weights, because tensor data is never read. The runtime has its own reader, in C++.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from executorch_ggml.errors import FileError, FormatError, UnsupportedError
from executorch_ggml.errors.files import open_regular

__all__ = ["GgufHeader", "TensorInfo", "Value", "read_header"]

Scalar = bool | int | float | str
Value = Scalar | list[bool] | list[int] | list[float] | list[str]

_SCALARS = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_DIMS = 4
_MAX_NAME = 63  # ggml keeps 64 bytes for a tensor's name, the terminator included
_SPLIT_NAME = re.compile(r"^(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf$")


@dataclass(frozen=True)
class TensorInfo:
    """One entry of the tensor table. shape: torch order (slowest dimension first). type: ggml type number."""

    name: str
    shape: tuple[int, ...]
    type: int


class _Array:
    """An array left undecoded until somebody asks: a tokenizer has 300,000 strings that an export never looks at."""

    def __init__(self, data: bytes, element: int, count: int) -> None:
        self.data, self.element, self.count = data, element, count

    def decode(self, where: str) -> list[bool] | list[int] | list[float] | list[str]:
        if self.element == _STRING:
            cursor = _Cursor(self.data, where)
            return [cursor.string("array element") for _ in range(self.count)]
        code = _SCALARS[self.element].format[1:]
        return list(struct.unpack(f"<{self.count}{code}", self.data))


class _Cursor:
    """Bounds-checked reading; every failure names the file, the field and the offset."""

    def __init__(self, data: bytes | mmap.mmap, where: str) -> None:
        self.data, self.where, self.offset, self.size = data, where, 0, len(data)

    def need(self, count: int, field: str) -> int:
        start = self.offset
        if count > self.size - start:
            raise FormatError(
                f"{self.where}: {field} at byte {start} needs {count} bytes, but the file has {self.size - start} left "
                "(truncated or corrupted file)"
            )
        self.offset = start + count
        return start

    def scalar(self, kind: int, field: str) -> int | float | bool:
        form = _SCALARS[kind]
        start = self.need(form.size, field)
        value: int | float | bool = form.unpack_from(self.data, start)[0]
        return value

    def count(self, kind: int, field: str) -> int:
        return int(self.scalar(kind, field))

    def raw(self, count: int, field: str) -> bytes:
        start = self.need(count, field)
        return self.data[start : start + count]

    def string(self, field: str) -> str:
        raw = self.raw(self.count(10, f"length of {field}"), field)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            # Token lists of byte-level vocabularies may hold bytes that are no UTF-8 of their own.
            return raw.decode("utf-8", "surrogateescape")

    def array(self, field: str) -> _Array:
        element = self.count(4, f"element type of {field}")
        count = self.count(10, f"element count of {field}")
        start = self.offset
        if element == _STRING:
            # 8 bytes of length at least: refuses a count that the file cannot hold before looping over it.
            if count > (self.size - start) // 8:
                self.need(count * 8, field)
            length = struct.Struct("<Q").unpack_from
            for _ in range(count):
                at = self.need(8, field)
                self.need(length(self.data, at)[0], field)
        elif element in _SCALARS:
            self.need(count * _SCALARS[element].size, field)
        else:
            raise FormatError(f"{self.where}: {field} is an array of type {element}, which GGUF does not have")
        return _Array(self.data[start : self.offset], element, count)


class GgufHeader(Mapping[str, Value]):
    """Metadata of a GGUF (of the first shard, when it is split) as a mapping, and the tensors of all shards.

    path: the file given; paths: all shards. tensors: in file order, by name.
    """

    def __init__(self, paths: list[Path], metadata: dict[str, Scalar | _Array], tensors: dict[str, TensorInfo]) -> None:
        self.path, self.paths, self.tensors = paths[0], paths, tensors
        self._metadata = metadata

    def __getitem__(self, key: str) -> Value:
        value = self._metadata[key]
        return value.decode(f"{self.path}: {key}") if isinstance(value, _Array) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._metadata)

    def __len__(self) -> int:
        return len(self._metadata)

    def fingerprint(self) -> bytes:
        """A hash of all metadata and of the names, shapes and types of the tensors."""
        found = hashlib.sha256()
        for key, value in sorted(self._metadata.items()):
            found.update(repr((key, value) if not isinstance(value, _Array) else (key, value.element)).encode())
            if isinstance(value, _Array):
                found.update(hashlib.sha256(value.data).digest())
        for name, tensor in sorted(self.tensors.items()):
            found.update(repr((name, tensor.shape, tensor.type)).encode())
        return found.digest()

    def length(self, key: str) -> int:
        """Elements of an array, without decoding it. Raises KeyError without that key, FormatError for no array."""
        value = self._metadata[key]
        if not isinstance(value, _Array):
            raise FormatError(f"{self.path}: metadata key {key!r} should be an array, but is {value!r:.60}")
        return value.count


def _parse_kv(cursor: _Cursor, index: int) -> tuple[str, Scalar | _Array]:
    key = cursor.string(f"key of metadata entry {index}")
    kind = cursor.count(4, f"type of {key!r}")
    if kind == _STRING:
        return key, cursor.string(f"value of {key!r}")
    if kind == _ARRAY:
        return key, cursor.array(repr(key))
    if kind not in _SCALARS:
        raise FormatError(f"{cursor.where}: {key!r} has value type {kind}, which GGUF does not have")
    return key, cursor.scalar(kind, f"value of {key!r}")


def _parse_tensor(cursor: _Cursor, index: int) -> TensorInfo:
    name = cursor.string(f"name of tensor {index}")
    if not name or len(name.encode("utf-8", "surrogateescape")) > _MAX_NAME:
        raise FormatError(f"{cursor.where}: tensor {index} has a name of {len(name)} characters, want 1..{_MAX_NAME}")
    dims = cursor.count(4, f"dimension count of {name!r}")
    if not 1 <= dims <= _MAX_DIMS:
        raise FormatError(f"{cursor.where}: tensor {name!r} has {dims} dimensions, want 1..{_MAX_DIMS}")
    extents = [cursor.count(10, f"dimension {i} of {name!r}") for i in range(dims)]
    total = 1
    for extent in extents:
        total *= extent
    if not 0 < total < 1 << 63:
        raise FormatError(f"{cursor.where}: tensor {name!r} has the impossible shape {extents}")
    kind = cursor.count(4, f"type of {name!r}")
    cursor.count(10, f"offset of {name!r}")
    return TensorInfo(name, tuple(reversed(extents)), kind)


def _read_one(path: Path) -> tuple[dict[str, Scalar | _Array], list[TensorInfo]]:
    try:
        with open_regular(path) as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileError:
        raise
    except (OSError, ValueError) as error:  # mmap refuses an empty file with ValueError
        raise FileError(f"{path}: cannot be read: {error}") from error
    with data:
        return _parse(_Cursor(data, str(path)))


def _parse(cursor: _Cursor) -> tuple[dict[str, Scalar | _Array], list[TensorInfo]]:
    magic = cursor.raw(4, "magic")
    if magic != b"GGUF":
        raise FormatError(f"{cursor.where}: not a GGUF file: it starts with {magic!r}, not b'GGUF'")
    version = cursor.count(4, "version")
    if version not in (2, 3):
        swapped = version & 0xFFFF == 0 and version != 0
        reason = "it is big-endian" if swapped else f"it has version {version}"
        raise UnsupportedError(f"{cursor.where}: {reason}; little-endian GGUF of version 2 or 3 is read")
    n_tensors, n_kv = cursor.count(10, "tensor count"), cursor.count(10, "metadata count")
    # The smallest metadata entry takes 13 bytes, the smallest tensor 33.
    if n_kv * 13 + n_tensors * 33 > cursor.size:
        raise FormatError(
            f"{cursor.where}: the header announces {n_kv} metadata entries and {n_tensors} tensors, "
            f"more than {cursor.size} bytes can hold"
        )
    metadata: dict[str, Scalar | _Array] = {}
    for index in range(n_kv):
        key, value = _parse_kv(cursor, index)
        if key in metadata:
            raise FormatError(f"{cursor.where}: metadata key {key!r} occurs twice")
        metadata[key] = value
    return metadata, [_parse_tensor(cursor, index) for index in range(n_tensors)]


def _shard_paths(path: Path, metadata: Mapping[str, Scalar | _Array]) -> list[Path]:
    """All files of a split model, given its first."""
    count = metadata.get("split.count", 1)
    if not isinstance(count, int) or count <= 1:
        return [path]
    match = _SPLIT_NAME.match(path.name)
    if match is None or int(match["count"]) != count:
        raise FormatError(
            f"{path}: split.count says {count} files, so its name should end in -00001-of-{count:05d}.gguf; "
            "keep the names the shards were published with"
        )
    if metadata.get("split.no", 0) != 0:
        raise FormatError(f"{path}: this is shard {metadata['split.no']} of a split model; open the first, -00001-of-")
    return [path.with_name(f"{match['stem']}-{i + 1:05d}-of-{count:05d}.gguf") for i in range(count)]


def read_header(path: str | os.PathLike[str]) -> GgufHeader:
    """Reads metadata and the tensor table of a GGUF, or of all shards of a split one.

    Raises FileError (cannot be read), FormatError (malformed), UnsupportedError (version or byte order).
    """
    first = Path(path)
    metadata, infos = _read_one(first)
    paths = _shard_paths(first, metadata)
    for shard in paths[1:]:
        infos += _read_one(shard)[1]
    tensors: dict[str, TensorInfo] = {}
    for info in infos:
        if info.name in tensors:
            raise FormatError(f"{first}: tensor {info.name!r} occurs twice")
        tensors[info.name] = info
    expected = metadata.get("split.tensors.count")
    if len(paths) > 1 and expected is not None and expected != len(tensors):
        raise FormatError(f"{first}: split.tensors.count says {expected} tensors, the shards hold {len(tensors)}")
    return GgufHeader(paths, metadata, tensors)
