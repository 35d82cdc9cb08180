"""Weights as a GGUF, written tensor by tensor: a model of any size takes the memory of a few thousand rows.

The header says where every tensor will lie, which its shape and type decide; then the data follow.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError, ShapeError
from executorch_ggml.errors.files import check_target, write_atomically
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.runtime.types import quantize

from .types import BLOCKS, QUANT_TYPES

__all__ = ["Layout", "TensorSource", "encode", "layout_of", "storage_type", "write_gguf"]

logger = logging.getLogger(__name__)

_ALIGNMENT = 32
_AT_ONCE = 1 << 24
"""Elements that are converted at a time."""

_STRING, _U32 = 8, 4


@dataclass(frozen=True)
class TensorSource:
    """A tensor to be written. read: its rows from first to last + 1 (of the first dimension), as float32."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[int, int], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Layout:
    """A file to be: the bytes before the data, and for each tensor its type, its place and its size in bytes."""

    header: bytes
    tensors: Sequence[tuple[TensorSource, GgmlType, int, int]]
    size: int


def storage_type(tensor: TensorSource, dtype: str, exact: Sequence[str] = ()) -> GgmlType:
    """How a weight is stored when matrices are to be `dtype`.

    Vectors, and names that match a pattern in `exact`, stay F32. Kernels of convolutions are F32, or F16 where matrices
    take less than that (convolutions multiply by floats only). Rows that are no multiple of a type's block fall back to
    Q8_0, then F32. Raises InvalidArgumentError for an unknown dtype.
    """
    name = dtype.upper()
    if name not in ("F32", *QUANT_TYPES):
        raise InvalidArgumentError(f"weights can be stored as F32, {', '.join(QUANT_TYPES)}, not {dtype!r}")
    kind, shape = GgmlType[name], tensor.shape
    if len(shape) < 2 or kind is GgmlType.F32 or any(fnmatchcase(tensor.name, pattern) for pattern in exact):
        return GgmlType.F32
    if len(shape) > 2:
        # One kernel per channel (depthwise) is little data, and takes F32 only.
        return GgmlType.F16 if kind is not GgmlType.BF16 and shape[1] > 1 else GgmlType.F32
    for candidate in (kind, GgmlType.Q8_0):
        if shape[-1] % BLOCKS[candidate][0] == 0:
            return candidate
    return GgmlType.F32


def write_gguf(
    path: str | os.PathLike[str],
    tensors: Iterable[TensorSource],
    dtype: str,
    *,
    exact: Sequence[str] = (),
    metadata: Mapping[str, str | int] | None = None,
) -> int:
    """Writes the file, complete or not at all; returns its size in bytes.

    Raises InvalidArgumentError (an unknown dtype, a name that is too long) and ShapeError (a source with other data
    than it announced). Raises FileError, and LibraryError if a block type is requested and the native library is
    missing.
    """
    check_target(path, kind="gguf")
    layout = layout_of(tensors, dtype, exact, metadata or {})

    def write(file: BinaryIO) -> None:
        file.write(layout.header)
        for tensor, kind, _, _ in layout.tensors:
            logger.debug("%s %s %s", tensor.name, list(tensor.shape), kind.name)
            written = 0
            for block in _blocks(tensor, kind):
                written += file.write(block)
            file.write(bytes(-written % _ALIGNMENT))

    write_atomically(path, write, kind="gguf")
    return layout.size


def layout_of(
    tensors: Iterable[TensorSource], dtype: str, exact: Sequence[str], metadata: Mapping[str, str | int]
) -> Layout:
    """Raises InvalidArgumentError as `write_gguf` does."""
    planned = [(tensor, storage_type(tensor, dtype, exact)) for tensor in tensors]
    values: dict[str, str | int] = {
        "general.architecture": "executorch-ggml",
        "general.alignment": _ALIGNMENT,
        **metadata,
    }
    out = [b"GGUF", struct.pack("<IQQ", 3, len(planned), len(values))]
    for key, value in values.items():
        out.append(_string(key))
        if isinstance(value, str):
            out.append(struct.pack("<I", _STRING) + _string(value))
        else:
            out.append(struct.pack("<II", _U32, value))
    places, end = [], 0
    for tensor, kind in planned:
        if len(tensor.name.encode()) > 63:
            raise InvalidArgumentError(f"tensor name {tensor.name!r} is longer than the 63 bytes that ggml allows")
        dims = tuple(reversed(tensor.shape))
        out.append(_string(tensor.name))
        out.append(struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, int(kind), end))
        block, size = BLOCKS[kind]
        nbytes = prod(tensor.shape) // block * size
        places.append((tensor, kind, end, nbytes))
        end += nbytes + -nbytes % _ALIGNMENT
    header = b"".join(out)
    header += bytes(-len(header) % _ALIGNMENT)
    first = len(header)
    return Layout(header, [(t, kind, first + offset, size) for t, kind, offset, size in places], first + end)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _blocks(tensor: TensorSource, kind: GgmlType) -> Iterator[Any]:
    rows = tensor.shape[0] if tensor.shape else 1
    step = max(1, _AT_ONCE // max(1, prod(tensor.shape[1:])))
    for first in range(0, rows, step):
        last = min(first + step, rows)
        data = tensor.read(first, last)
        if data.shape != (last - first, *tensor.shape[1:]):
            raise ShapeError(
                f"{tensor.name}: rows {first} to {last} came as {list(data.shape)} of {list(tensor.shape)}"
            )
        yield encode(np.ascontiguousarray(data, dtype=np.float32), kind).data.cast("B")


def encode(data: npt.NDArray[np.float32], kind: GgmlType) -> npt.NDArray[Any]:
    """The elements as a file has them. Raises LibraryError as `write_gguf` does."""
    if kind is GgmlType.F32:
        return data
    if kind is GgmlType.F16:
        return data.astype(np.float16)
    if kind is GgmlType.BF16:
        bits = data.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # nearest, ties to even
    return quantize(data, int(kind))
