"""GGUF files: metadata and tensors, read in place.

    with GGUFFile("model.gguf") as file:
        file.metadata["general.architecture"]        # 'qwen3'
        file.tensors["token_embd.weight"].shape      # (151936, 1024)
        file.tensors["output_norm.weight"].numpy()   # a view of the mapped file
        file.dequantize("token_embd.weight")         # float32

The file is checked completely when it is opened (docs/gguf.md lists the faults) and mapped, not read: opening
costs the size of its header. Neither torch nor ExecuTorch is needed.
"""

from __future__ import annotations

import ctypes
import os
import struct
import weakref
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import BindError, GgmlError, InvalidArgumentError

from . import _abi, _load
from . import types as _types
from .types import GgmlType

STRING, ARRAY = 8, 9
_SCALARS: dict[int, tuple[str, str]] = {  # value type -> struct format, numpy dtype
    0: ("<B", "<u1"),
    1: ("<b", "<i1"),
    2: ("<H", "<u2"),
    3: ("<h", "<i2"),
    4: ("<I", "<u4"),
    5: ("<i", "<i4"),
    6: ("<f", "<f4"),
    7: ("<?", "|b1"),
    10: ("<Q", "<u8"),
    11: ("<q", "<i8"),
    12: ("<d", "<f8"),
}
VALUE_TYPE_NAMES = {
    0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "string", 9: "array",
    10: "u64", 11: "i64", 12: "f64",
}  # fmt: skip
# Types that numpy has too. BF16 is not among them: see GGUFTensor.numpy.
_NUMPY = {
    "f32": "<f4",
    "f16": "<f2",
    "f64": "<f8",
    "i8": "<i1",
    "i16": "<i2",
    "i32": "<i4",
    "i64": "<i8",
    "bf16": "<u2",
}


class _Handle:
    """An etggml_gguf. Views of the mapping hold it, so the file is unmapped when the last of them is gone.

    A file that is truncated while it is mapped ends the process (SIGBUS) when the lost part is read. So everything that
    reads looks its entry up first: the library then compares size and time with those at opening, and raises FileError.
    """

    def __init__(self, pointer: int) -> None:
        self.pointer = ctypes.c_void_p(pointer)
        finalizer = weakref.finalize(self, _load.library().etggml_gguf_close, ctypes.c_void_p(pointer))
        finalizer.atexit = False  # a daemon thread may still be reading a view when the interpreter ends

    def find_tensor(self, name: str) -> None:
        """Raises BindError when there is none, FileError when the file has changed since it was opened."""
        raw = _abi.GgufTensor(struct_size=ctypes.sizeof(_abi.GgufTensor))
        encoded = name.encode("utf-8", "replace")
        _load.check(_load.library().etggml_gguf_tensor_find(self.pointer, encoded, ctypes.byref(raw)))

    def find_kv(self, key: str) -> None:
        """As find_tensor, for a metadata entry."""
        raw = _abi.GgufKv(struct_size=ctypes.sizeof(_abi.GgufKv))
        _load.check(_load.library().etggml_gguf_kv_find(self.pointer, key.encode("utf-8"), ctypes.byref(raw)))


class _View:
    """Lets numpy make a view of memory, while keeping `owner` alive as the view's base."""

    def __init__(self, owner: _Handle, address: int, shape: tuple[int, ...], dtype: str) -> None:
        self.owner = owner
        # True: read-only. The mapping is; writing through it would end the process.
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": dtype}


class GGUFTensor:
    """A tensor of a file. Cheap: nothing is read until `numpy()` or `dequantize()`."""

    def __init__(self, owner: _Handle, raw: _abi.GgufTensor) -> None:
        self._owner = owner
        self._address = int(raw.data)
        self.name: str = raw.name.decode("utf-8")
        self.type_number = int(raw.type)
        self.ne: tuple[int, ...] = tuple(raw.ne[: raw.n_dims])
        """dimensions as in the file, fastest first"""
        self.shape: tuple[int, ...] = self.ne[::-1]
        """dimensions in torch's order"""
        self.nbytes = int(raw.nbytes)
        self.file_offset = int(raw.file_offset)
        """of the first byte, in the file of its shard"""
        self.shard = int(raw.shard)

    @property
    def type(self) -> GgmlType:
        """How the values are stored."""
        return _types.ggml_type(self.type_number)

    @property
    def type_name(self) -> str:
        """The name of `type`, such as "Q8_0"."""
        return self.type.name

    def numpy(self) -> npt.NDArray[Any]:
        """A read-only view of the mapped file, without a copy. Raises FileError when the file has changed since.

        F32, F16, F64 and integer tensors have their torch shape and dtype. BF16, which numpy lacks, comes as uint16
        (the upper 16 bits of float32). Quantised types come as uint8 [..., bytes of a row].
        """
        self._owner.find_tensor(self.name)
        kind = self.type
        dtype = _NUMPY.get(kind.name.lower())
        shape = self.shape
        if dtype is None:
            dtype, shape = "|u1", (*shape[:-1], kind.row_bytes(shape[-1]))
        return np.asarray(_View(self._owner, self._address, shape, dtype))

    def dequantize(self) -> npt.NDArray[np.float32]:
        """The values as a new float32 array of `shape`."""
        return _types.dequantize(self.numpy(), self.type, self.shape)

    def __repr__(self) -> str:
        return f"GGUFTensor({self.name!r}, {self.type_name}, shape={self.shape})"


class _Entry:
    __slots__ = ("address", "count", "element_type", "nbytes", "type")

    def __init__(self, raw: _abi.GgufKv) -> None:
        self.type, self.element_type = int(raw.type), int(raw.element_type)
        self.count, self.nbytes, self.address = int(raw.count), int(raw.nbytes), int(raw.data or 0)


class Metadata(Mapping[str, Any]):
    """The key-value pairs of a file, decoded on first access and kept.

    Numbers come as int, float or bool, strings as str, arrays of strings as list[str], other arrays as numpy arrays.
    Bytes that are not UTF-8 (some tokenizers have them) survive as surrogates: `text.encode(errors="surrogateescape")`
    gives them back.
    """

    def __init__(self, owner: _Handle) -> None:
        self._owner = owner
        self._cache: dict[str, Any] = {}
        self._entries: dict[str, _Entry] = {}
        lib = _load.library()
        raw = _abi.GgufKv(struct_size=ctypes.sizeof(_abi.GgufKv))
        for index in range(lib.etggml_gguf_kv_count(owner.pointer)):
            _load.check(lib.etggml_gguf_kv_at(owner.pointer, index, ctypes.byref(raw)))
            self._entries[raw.key.decode("utf-8")] = _Entry(raw)

    def __getitem__(self, key: str) -> Any:
        if key not in self._cache:
            self._cache[key] = self._decode(key)
        return self._cache[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def type_of(self, key: str) -> str:
        """The type in the file: "u32", "string", "array[string]". Raises KeyError."""
        entry = self._entries[key]
        name = VALUE_TYPE_NAMES[entry.type]
        return f"array[{VALUE_TYPE_NAMES[entry.element_type]}]" if entry.type == ARRAY else name

    def raw_strings(self, key: str) -> list[bytes]:
        """A string, or an array of strings, as bytes. Raises KeyError, and InvalidArgumentError for other types."""
        entry = self._entries[key]
        self._owner.find_kv(key)
        if (entry.element_type if entry.type == ARRAY else entry.type) != STRING:
            raise InvalidArgumentError(f"{key!r} is of type {self.type_of(key)}, not text")
        data = ctypes.string_at(entry.address, entry.nbytes)
        result, position = [], 0
        for _ in range(entry.count):  # the lengths were checked when the file was opened
            start = position + 8
            position = start + int.from_bytes(data[position:start], "little")
            result.append(data[start:position])
        return result

    def _decode(self, key: str) -> Any:
        entry = self._entries[key]
        self._owner.find_kv(key)
        if entry.type == ARRAY and entry.element_type != STRING:
            dtype = np.dtype(_SCALARS[entry.element_type][1])
            return np.frombuffer(ctypes.string_at(entry.address, entry.nbytes), dtype=dtype)
        data = ctypes.string_at(entry.address, entry.nbytes)
        if entry.type == STRING:
            return data[8:].decode("utf-8", "surrogateescape")
        if entry.type != ARRAY:
            return struct.unpack(_SCALARS[entry.type][0], data)[0]
        strings, position, length_at = [], 0, struct.Struct("<Q").unpack_from
        for _ in range(entry.count):
            start = position + 8
            position = start + length_at(data, position)[0]
            strings.append(data[start:position].decode("utf-8", "surrogateescape"))
        return strings

    def __repr__(self) -> str:
        return f"Metadata({len(self)} entries)"


class _Tensors(Mapping[str, GGUFTensor]):
    """Name -> tensor, in file order. A missing name is a BindError, which is a KeyError too, with the nearest names."""

    def __init__(self, owner: _Handle) -> None:
        self._owner = owner
        self._tensors: dict[str, GGUFTensor] = {}
        lib = _load.library()
        raw = _abi.GgufTensor(struct_size=ctypes.sizeof(_abi.GgufTensor))
        for index in range(lib.etggml_gguf_tensor_count(owner.pointer)):
            _load.check(lib.etggml_gguf_tensor_at(owner.pointer, index, ctypes.byref(raw)))
            tensor = GGUFTensor(owner, raw)
            self._tensors[tensor.name] = tensor

    def __getitem__(self, name: str) -> GGUFTensor:
        found = self._tensors.get(name)
        if found is not None:
            return found
        try:  # for its message, which names the nearest
            self._owner.find_tensor(name)
        except BindError as missing:
            raise TensorNotFoundError(missing.message) from None
        raise TensorNotFoundError(f"there is no tensor {name!r}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"<{len(self)} tensors>"


class TensorNotFoundError(BindError, KeyError):
    """There is no tensor of that name; the message names the nearest. A KeyError, so that Mapping.get works."""


class GGUFFile:
    """A GGUF file, or a split set given by its first shard ("model-00001-of-00003.gguf").

    Args:
        path: the file.
        max_string: bytes of one metadata string above which the file is refused.
        max_array: elements of one metadata array above which the file is refused.

    Raises:
        FileError: it cannot be opened.
        FormatError: it is malformed; the message says where and how.
        UnsupportedError: versions, types and features beyond this build.
        InvalidArgumentError: a shard that is not the first.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_string: int | None = None, max_array: int | None = None
    ) -> None:
        self.path = os.fspath(path)
        options = _load.options_json({"max_string": max_string, "max_array": max_array})
        pointer = ctypes.c_void_p()
        _load.check(_load.library().etggml_gguf_open(_load.path_bytes(path), options, ctypes.byref(pointer)))
        self._handle: _Handle | None = _Handle(cast(int, pointer.value))
        self._metadata: Metadata | None = None
        self._tensors: _Tensors | None = None

    @property
    def handle(self) -> _Handle:
        """The open handle. Raises GgmlError after close()."""
        if self._handle is None:
            raise GgmlError(f"{self.path}: the file was closed")
        return self._handle

    @property
    def metadata(self) -> Metadata:
        handle = self.handle
        if self._metadata is None:
            self._metadata = Metadata(handle)
        return self._metadata

    @property
    def tensors(self) -> Mapping[str, GGUFTensor]:
        handle = self.handle
        if self._tensors is None:
            self._tensors = _Tensors(handle)
        return self._tensors

    @property
    def info(self) -> dict[str, Any]:
        """path, paths, version, alignment, tensors, kvs, data_bytes, file_bytes, id"""
        return cast("dict[str, Any]", _load.take_json("etggml_gguf_info", self.handle.pointer))

    @property
    def architecture(self) -> str | None:
        """`general.architecture`, or None when the file names none."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    def dequantize(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor's values as a new float32 array of its torch shape. Raises BindError for an unknown name."""
        return self.tensors[name].dequantize()

    def close(self) -> None:
        """Drops the file. Views made by `numpy()` and programs loaded with it stay valid: they hold the mapping."""
        self._handle = self._metadata = self._tensors = None

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GGUFFile({self.path!r}{', closed' if self.closed else ''})"
