"""Arrays across the C interface: numpy in and out, torch tensors when the caller brings them.

torch is never imported here. A torch tensor is recognised by the module of its class, and its torch is then the one
already in `sys.modules`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import DtypeError, InvalidArgumentError, ShapeError

from . import _abi

# torch.ScalarType numbers, which the C interface speaks
_NUMPY_TO_SCALAR: dict[str, int] = {
    "uint8": 0, "int8": 1, "int16": 2, "int32": 3, "int64": 4, "float16": 5, "float32": 6, "float64": 7, "bool": 11,
    "bfloat16": 15,  # of the package ml_dtypes, should the caller use it
}  # fmt: skip
SCALAR_NAMES: dict[int, str] = {number: name for name, number in _NUMPY_TO_SCALAR.items()}
_BFLOAT16 = 15
_BOOL = 11
_MAX_RANK = 8
_INT, _FLOAT, _NONE = -1, -2, -3  # ndim of a number or None in place of a tensor


def is_torch(value: object) -> bool:
    """Whether this is a torch tensor, found out without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


class Inputs:
    """The arguments of one call as C structures; keeps every buffer alive."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.any_torch = any(is_torch(value) for value in values)
        self.count = len(values)
        self.array = (_abi.Tensor * max(1, len(values)))()
        self._alive: list[Any] = []
        for index, value in enumerate(values):
            self._fill(self.array[index], index, value)

    def _fill(self, out: _abi.Tensor, index: int, value: Any) -> None:
        if value is None:
            out.ndim = _NONE
            return
        if isinstance(value, (bool, int, float)):  # numpy scalars are not: they are arrays of rank 0
            self._fill_number(out, value)
            return
        if is_torch(value):
            data, scalar = _from_torch(value)
        else:
            data = np.asarray(value)
            number = _NUMPY_TO_SCALAR.get(data.dtype.name)
            if number is None:
                raise DtypeError(f"input {index} has dtype {data.dtype}; possible are {', '.join(_NUMPY_TO_SCALAR)}")
            scalar = number
            if not data.dtype.isnative:
                data = data.astype(data.dtype.newbyteorder("="))
        if data.ndim > _MAX_RANK:
            raise ShapeError(f"input {index} has rank {data.ndim}; at most {_MAX_RANK} is possible")
        shape = data.shape  # before ascontiguousarray, which makes rank 0 into rank 1
        data = np.ascontiguousarray(data)
        self._alive.append(data)
        out.dtype, out.ndim = scalar, len(shape)
        out.shape[: len(shape)] = shape
        out.data, out.nbytes = data.ctypes.data, data.nbytes

    def _fill_number(self, out: _abi.Tensor, value: bool | int | float) -> None:
        cell: ctypes.c_int64 | ctypes.c_double
        if isinstance(value, float):
            cell, out.dtype, out.ndim = ctypes.c_double(value), 7, _FLOAT
        else:
            if not -(2**63) <= value < 2**63:
                raise InvalidArgumentError(f"{value} does not fit 64 bits")
            cell, out.dtype, out.ndim = ctypes.c_int64(value), 4, _INT
        self._alive.append(cell)
        out.data, out.nbytes = ctypes.addressof(cell), 8


def _from_torch(value: Any) -> tuple[npt.NDArray[Any], int]:
    torch = sys.modules["torch"]
    tensor = value.detach()
    if tensor.layout is not torch.strided or tensor.device.type == "meta":
        raise InvalidArgumentError(f"an input has no dense elements: layout {tensor.layout}, device {tensor.device}")
    if tensor.device.type != "cpu":
        tensor = tensor.cpu()
    tensor = tensor.resolve_conj().resolve_neg().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy(), _BFLOAT16
    data: npt.NDArray[Any] = tensor.numpy()
    number = _NUMPY_TO_SCALAR.get(data.dtype.name)
    if number is None:
        raise DtypeError(f"an input has dtype {value.dtype}; possible are {', '.join(_NUMPY_TO_SCALAR)}")
    return data, number


class _Memory:
    """Output memory of the program as numpy sees it; holds the program."""

    def __init__(self, owner: object, address: int, shape: tuple[int, ...], dtype: str) -> None:
        self.owner = owner
        self.__array_interface__ = {"version": 3, "data": (address, True), "shape": shape, "typestr": dtype}


def view(pointer: Any, count: int, *, owner: object, copy: bool) -> npt.NDArray[np.float32]:
    """``count`` floats of the library's behind a ctypes pointer; read-only unless copied."""
    address = ctypes.cast(pointer, ctypes.c_void_p).value or 0
    data: npt.NDArray[np.float32] = np.asarray(_Memory(owner, address, (count,), np.dtype(np.float32).str))
    return data.copy() if copy else data


def output(raw: _abi.Tensor, owner: object, *, as_torch: bool, copy: bool) -> Any:
    """One result. BF16, which numpy lacks, becomes float32 (exactly); with as_torch it stays bfloat16."""
    if raw.ndim == _NONE:
        return None
    if raw.ndim == _INT:
        number = ctypes.c_int64.from_address(raw.data).value
        return bool(number) if raw.dtype == _BOOL else number
    if raw.ndim == _FLOAT:
        return ctypes.c_double.from_address(raw.data).value
    name = SCALAR_NAMES.get(raw.dtype)
    if name is None:
        raise DtypeError(f"a result has the dtype number {raw.dtype}, which numpy cannot hold")
    shape = tuple(raw.shape[: raw.ndim])
    dtype = np.dtype(np.uint16 if raw.dtype == _BFLOAT16 else name)
    if 0 in shape:
        data: npt.NDArray[Any] = np.empty(shape, dtype)
    else:
        data = np.asarray(_Memory(owner, raw.data, shape, dtype.str))
        if copy or as_torch:  # torch cannot hold read-only memory
            data = data.copy()
    if as_torch:
        torch = sys.modules["torch"]
        tensor = torch.from_numpy(data.view(np.int16) if raw.dtype == _BFLOAT16 else data)
        return tensor.view(torch.bfloat16) if raw.dtype == _BFLOAT16 else tensor
    if raw.dtype == _BFLOAT16:
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data
