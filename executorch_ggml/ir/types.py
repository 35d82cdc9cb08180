"""Element types on both sides of the boundary: torch scalar types and ggml types."""

from __future__ import annotations

import enum

import numpy as np

from .errors import IrError


class DType(enum.IntEnum):
    """torch scalar types, numbered as torch and ExecuTorch number them."""

    UINT8 = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    FLOAT16 = 5
    FLOAT32 = 6
    FLOAT64 = 7
    BOOL = 11
    BFLOAT16 = 15

    @property
    def is_float(self) -> bool:
        """Whether values are computed in F32 inside the graph (float64 is not: it would lose digits)."""
        return self in (DType.FLOAT16, DType.FLOAT32, DType.BFLOAT16)

    @property
    def is_integer(self) -> bool:
        """True for every integer type; bool is not one."""
        return self in (DType.UINT8, DType.INT8, DType.INT16, DType.INT32, DType.INT64)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return _DTYPE_SIZE[self]


_DTYPE_SIZE = {
    DType.UINT8: 1,
    DType.INT8: 1,
    DType.INT16: 2,
    DType.INT32: 4,
    DType.INT64: 8,
    DType.FLOAT16: 2,
    DType.FLOAT32: 4,
    DType.FLOAT64: 8,
    DType.BOOL: 1,
    DType.BFLOAT16: 2,
}


class GgmlType(enum.IntEnum):
    """ggml_type numbers; ANY stands for "what the GGUF holds"."""

    F32 = 0
    F16 = 1
    Q4_0 = 2
    Q4_1 = 3
    Q5_0 = 6
    Q5_1 = 7
    Q8_0 = 8
    Q8_1 = 9
    Q2_K = 10
    Q3_K = 11
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14
    Q8_K = 15
    IQ2_XXS = 16
    IQ2_XS = 17
    IQ3_XXS = 18
    IQ1_S = 19
    IQ4_NL = 20
    IQ3_S = 21
    IQ2_S = 22
    IQ4_XS = 23
    I8 = 24
    I16 = 25
    I32 = 26
    I64 = 27
    F64 = 28
    IQ1_M = 29
    BF16 = 30
    TQ1_0 = 34
    TQ2_0 = 35
    MXFP4 = 39
    NVFP4 = 40
    Q1_0 = 41
    Q2_0 = 42
    ANY = 255

    @property
    def is_float(self) -> bool:
        """F32, F16 or BF16."""
        return self in (GgmlType.F32, GgmlType.F16, GgmlType.BF16)


# The storage type in which data of a torch type is kept when it comes as a weight.
STORAGE: dict[DType, GgmlType] = {
    DType.FLOAT32: GgmlType.F32,
    DType.FLOAT16: GgmlType.F16,
    DType.BFLOAT16: GgmlType.BF16,
    DType.INT32: GgmlType.I32,
    DType.INT64: GgmlType.I64,
}

NUMPY: dict[GgmlType, np.dtype[np.generic]] = {
    GgmlType.F32: np.dtype(np.float32),
    GgmlType.F16: np.dtype(np.float16),
    GgmlType.I8: np.dtype(np.int8),
    GgmlType.I16: np.dtype(np.int16),
    GgmlType.I32: np.dtype(np.int32),
    GgmlType.I64: np.dtype(np.int64),
    GgmlType.F64: np.dtype(np.float64),
    GgmlType.BF16: np.dtype(np.uint16),
}


def type_name(number: int) -> str:
    """Name of a ggml type number, ``type<n>`` for one this version does not know."""
    try:
        return GgmlType(number).name
    except ValueError:
        return f"type{number}"


def dtype_name(number: int) -> str:
    """torch name of a scalar type number (``float32``)."""
    try:
        return DType(number).name.lower()
    except ValueError:
        return f"scalar{number}"


def numpy_type(ggml_type: GgmlType) -> np.dtype[np.generic]:
    """numpy type of the stored elements; BF16 is its 16 raw bits.

    Raises:
        IrError: for block-quantised types, which have no element type.
    """
    try:
        return NUMPY[ggml_type]
    except KeyError:
        raise IrError(f"{ggml_type.name} has no element type in numpy") from None
