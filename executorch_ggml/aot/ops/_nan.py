"""NaN as torch has it, for ggml kernels that skip it: a maximum over a NaN is NaN. Registers no operator."""

from __future__ import annotations

import math
from collections.abc import Sequence

from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from .compare import is_number
from .where import choose


def with_nan(b: Builder, x: Value, dims: Sequence[int], keepdim: bool, reduced: Value) -> Value:
    """``reduced``, a reduction of x over dims, with NaN where x has one."""
    missing = b.reduce("sum", b.scale(is_number(b, x), -1.0, 1.0), dims, keepdim)
    return choose(b, b.unary(UnaryKind.STEP, missing), math.nan, reduced, reduced.shape)


def extremum(b: Builder, x: Value, dims: Sequence[int], keepdim: bool, sign: float) -> Value:
    """Maximum (sign 1) or minimum (sign -1) of floats over dims (none: all)."""
    x = b.f32(x)
    best = b.scale(b.reduce("max", b.scale(x, sign), dims, keepdim), sign)
    return with_nan(b, x, dims, keepdim, best)


def sortable(b: Builder, x: Value) -> Value:
    """Keys for a sort: NaN becomes the largest, as torch has it.

    ggml sorts with `<`. With NaN among the elements its result is not defined, not even that it ends.
    """
    return b.clamp(x)  # ggml's takes a NaN to its upper limit
