"""ggml's tensor types, as the loaded library knows them, and conversion to and from float32."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError, UnsupportedError

from . import _abi, _load

_HIGHEST = 64  # above every number ggml has given out; gaps are types that were removed


class GgmlType(NamedTuple):
    """One type. A row of n elements takes `n / block_size * type_size` bytes."""

    number: int
    name: str
    block_size: int
    """elements a block"""
    type_size: int
    """bytes a block"""
    quantized: bool
    cpu_mul_mat: bool
    """ggml's CPU backend can multiply by it"""

    def row_bytes(self, elements: int) -> int:
        """Bytes of a row. Raises InvalidArgumentError unless `elements` is a multiple of the block."""
        if elements % self.block_size:
            raise InvalidArgumentError(
                f"a row of {elements} elements is not a multiple of the block of {self.block_size} of type {self.name}"
            )
        return elements // self.block_size * self.type_size


@cache
def _by_number(number: int) -> GgmlType:
    info = _abi.TypeInfo(struct_size=ctypes.sizeof(_abi.TypeInfo))
    _load.check(_load.library().etggml_type(number, ctypes.byref(info)))
    return GgmlType(
        number,
        info.name.decode(),
        int(info.block_size),
        int(info.type_size),
        bool(info.quantized),
        bool(info.cpu_mul_mat),
    )


@cache
def all_types() -> dict[str, GgmlType]:
    """Every type of this build by its name in lower case ("q8_0", "q4_k", "f32")."""
    found = {}
    for number in range(_HIGHEST):
        try:
            kind = _by_number(number)
        except UnsupportedError:
            continue
        found[kind.name.lower()] = kind
    return found


def ggml_type(which: int | str | GgmlType) -> GgmlType:
    """A type by its number in GGUF files or its name in any case. Raises UnsupportedError for an unknown one."""
    if isinstance(which, GgmlType):
        return which
    if isinstance(which, int):
        return _by_number(which)
    kind = all_types().get(which.lower())
    if kind is None:
        raise UnsupportedError(f"unknown ggml type {which!r}; known are {', '.join(all_types())}")
    return kind


def quantize(
    values: npt.ArrayLike, which: int | str | GgmlType, importance: npt.ArrayLike | None = None
) -> npt.NDArray[np.uint8]:
    """float32 [..., columns] -> uint8 [..., bytes of a row], as ggml encodes rows of the type.

    importance: float32 [columns], the weights of an importance matrix, for types that use one; None: all alike.
    """
    kind = ggml_type(which)
    source = np.asarray(values, dtype=np.float32)
    if source.ndim == 0 or source.size == 0:
        raise InvalidArgumentError(f"cannot quantise an array of shape {source.shape}")
    source = np.ascontiguousarray(source)
    columns = source.shape[-1]
    result = np.empty((*source.shape[:-1], kind.row_bytes(columns)), dtype=np.uint8)
    weights = None
    if importance is not None:
        weights = np.ascontiguousarray(importance, dtype=np.float32)
        if weights.shape != (columns,):
            raise InvalidArgumentError(f"importance has shape {weights.shape}, the rows have {columns} elements")
    rows = source.size // columns
    status = _load.library().etggml_quantize(
        kind.number, source.ctypes.data, rows, columns, weights.ctypes.data if weights is not None else None,
        result.ctypes.data, result.nbytes,
    )  # fmt: skip
    _load.check(status)
    return result


def dequantize(data: npt.NDArray[Any], which: int | str | GgmlType, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Bytes in a type's encoding -> float32 of `shape` (torch order; the last dimension is a row)."""
    kind = ggml_type(which)
    source = np.ascontiguousarray(data)
    result = np.empty(shape, dtype=np.float32)
    if result.size == 0:
        return result
    columns = shape[-1] if shape else 1
    rows = result.size // columns
    if source.nbytes != rows * kind.row_bytes(columns):
        raise InvalidArgumentError(
            f"{source.nbytes} bytes are not an array of shape {shape} and type {kind.name}, "
            f"which takes {rows * kind.row_bytes(columns)}"
        )
    status = _load.library().etggml_dequantize(
        kind.number, source.ctypes.data, source.nbytes, rows, columns, result.ctypes.data
    )
    _load.check(status)
    return result
