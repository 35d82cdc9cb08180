"""Conversions of type: `to`, `_to_copy`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.bounds import is_exact
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, Kind, UnaryKind, Value

from ._views import with_relu
from .compare import equal, negated

_aten = torch.ops.aten


@register(
    _aten._to_copy.default,
    _aten.to.dtype,
    moves=True,
    bounds=bounds.converted,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.to(torch.float32)), [(3, 5)], name="same"),
        Case(lambda x: x.to(torch.float16).to(torch.float32) + 0.25, [Arg((3, 5), low=-200, high=200)], name="rounds"),
        Case(lambda x: x.to(torch.bfloat16).to(torch.float32) * 2.0, [(3, 5)], name="rounds bfloat16"),
        Case(lambda x: x.to(torch.int64), [(3, 5)], refused="int64", name="to int"),
        Case(lambda x: x + torch.round(x).to(torch.bool), [(3, 5)], name="to bool"),
        Case(lambda x, y: x + y.to(torch.bool), [(3, 5), Arg((3, 5), torch.int64, -1, 1)], name="int to bool"),
        Case(lambda x, y: x + y.to(torch.float32), [(3, 5), Arg((3, 5), torch.int64, -9, 9)], name="int to float"),
        Case(lambda x, y: x + y.to(torch.float32), [(3, 5), Arg((3, 5), torch.bool)], name="bool to float"),
        Case(lambda x: x + torch.cumsum((x > 0).to(torch.int32), 1), [(3, 5)], name="bool to int"),
        Case(lambda x: x.to(torch.float64), [(3, 5)], refused="float64", name="to double"),
    ],
)
def to_copy(b: Builder, n: NodeView) -> Value:
    """Conversion of the element type, with its rounding."""
    return _convert(b, n.tensor("self"), n.out.dtype, is_exact(n.bounds))


def _truth(b: Builder, v: Value) -> Value:
    """1 for all but zero. Rounding an integer to F32 leaves zero, and only zero, zero."""
    if not v.dtype.is_float:
        return b.unary(UnaryKind.STEP, b.unary(UnaryKind.ABS, b.rounded(v)))
    return negated(b, equal(b, b.f32(v), 0.0, whole=False))


def _convert(b: Builder, v: Value, to: DType, exact: bool) -> Value:
    if v.dtype is to:
        return v
    data = b.data_of(v) if v.kind is Kind.WEIGHT and v.dtype.is_integer and is_small(v) else None
    if data is not None and to is DType.FLOAT32:
        return b.constant(data, to)
    if v.dtype.is_integer and to.is_integer:
        if v.rank == 0:
            # A size or counter on its way between operators of the host: taking it costs an input and an output.
            raise Unsupported("a single integer stays with ExecuTorch")
        if exact and (v.kind is Kind.NODE or b.is_exact_input(v)):
            return b.decided(v).with_dtype(to)
        if v.kind is Kind.INPUT and _holds(to, v.dtype):
            return v.with_dtype(to)
        raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()}")
    if to is DType.BOOL:
        return _truth(b, v).with_dtype(to)
    if v.dtype.is_float != to.is_float and v.dtype.is_float:
        raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()} stays with ExecuTorch")
    if not to.is_float:  # a boolean
        if not exact:
            raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()} stays with ExecuTorch")
        return b.f32(v).with_dtype(to)
    if to is DType.FLOAT32 and b.is_kv_cache(v):
        return v.with_dtype(to)  # attention reads it, in any type
    v = b.rounded(v)
    if to is DType.FLOAT32:
        return v.with_dtype(to)
    # Kept as F32 elements, but rounded as the narrow type rounds.
    narrow = b.cast(v, GgmlType.F16 if to is DType.FLOAT16 else GgmlType.BF16)
    return b.cast(narrow, GgmlType.F32).with_dtype(to)


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether an integer type has every value of another one."""
    if DType.UINT8 in (wide, narrow):
        return narrow is DType.UINT8 and wide is not DType.INT8
    return wide.itemsize >= narrow.itemsize


def is_small(v: Value) -> bool:
    """Whether a weight is a literal rather than a table (at most 1024 elements)."""
    return isinstance(v.numel, int) and v.numel <= 1024
