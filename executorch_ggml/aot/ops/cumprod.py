"""`cumprod`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, ScanKind, Value

from ._fp16 import FP16_TYPES
from ._rows import rows_back, rows_last

_aten = torch.ops.aten
_INF, _NAN = float("inf"), float("nan")


def _special(x: torch.Tensor) -> torch.Tensor:
    rows = torch.tensor([[1e30, 1e30, 1e-30, 1e-30], [0.0, _INF, 1.0, 2.0], [1.0, _NAN, 0.0, 1.0], [-_INF, 2, -3, 0.5]])
    y = torch.cumprod(rows + x * 0.0, -1)
    return torch.where(y == y, torch.clamp(y, -1e3, 1e3), 77.0)


@register(
    _aten.cumprod.default,
    bounds=bounds.running_product,
    cpu_only=True,
    cases=lambda: [
        Case(lambda x: torch.cumprod(x, -1), [(3, 5)]),
        Case(lambda x: torch.cumprod(x, 0), [(7,)], name="vector"),
        Case(lambda x: torch.cumprod(x, 1), [(2, 3, 4, 2)], name="middle"),
        Case(lambda x: torch.cumprod(x.permute(1, 2, 0), -2), [(2, 3, 4)], name="permuted"),
        Case(lambda x: torch.cumprod(x[0, 0], 0), [(3, 5)], name="single"),
        Case(lambda x: torch.cumprod(x, 0), [Arg((40000, 2), low=0.9, high=1.1)], name="long"),
        Case(_special, [(1,)], name="special values"),
        Case(lambda x: torch.cumprod(x, 0), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: x * torch.cumprod(x > 0, 1), [(4, 9)], name="booleans"),
        Case(lambda x: torch.cumprod(x, 1, dtype=torch.float32), [Arg((3, 5), torch.int32, -5, 5)], name="as floats"),
        Case(lambda x: torch.cumprod(x, 0), [Arg((5,), torch.int64, 0, 9)], refused="int64", name="int"),
        Case(lambda x: torch.cumprod(x, 0), [Arg((5,), torch.float64)], refused="float64", name="doubles"),
    ],
)
def cumprod(b: Builder, n: NodeView) -> Value:
    """Running product along any dimension, in double. On the CPU alone."""
    n.require_exact()
    x, dim = rows_last(b, n, _of_type(b, n))
    return rows_back(b, n, b.scan(ScanKind.PROD, x).with_dtype(n.out.dtype), dim)


def _of_type(b: Builder, n: NodeView) -> Value:
    """The operand, converted first, as the argument dtype has it."""
    x, given, wanted = n.tensor("self"), n.meta("self").dtype, n.out.dtype
    if given is wanted:
        return x
    if not wanted.is_float:
        if given.is_float:
            raise Unsupported("floats multiplied as integers")
        return b.f32(x)
    narrow = FP16_TYPES.get(wanted)
    x = b.rounded(x)
    return x if narrow is None else b.f32(b.cast(x, narrow))
