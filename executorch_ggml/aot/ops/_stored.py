"""Computed halves as torch has them. Registers no operator.

ggml computes float16 and bfloat16 in F32, and a result is rounded when it is stored. An operator that jumps (a
comparison, a rounding to whole numbers) would show the digits in between, so its operands are rounded first.
"""

from __future__ import annotations

from executorch_ggml.ir.builder import Builder, DType, GgmlType, Kind, Value

_HALVES = {DType.FLOAT16: GgmlType.F16, DType.BFLOAT16: GgmlType.BF16}


def as_stored(b: Builder, v: Value) -> Value:
    """A float as F32, rounded to its torch dtype where the graph computed it."""
    half = _HALVES.get(v.dtype)
    if half is None or v.kind is not Kind.NODE:
        return b.f32(v)
    return b.f32(b.cast(b.f32(v), half))
