"""`isnan` and `isinf`."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, UnaryKind, Value

from ._special_values import on_special_values
from .compare import is_number

_aten = torch.ops.aten


_LARGEST = 3.4028234663852886e38


def _floats(b: Builder, n: NodeView) -> Value:
    if not n.meta("self").dtype.is_float:
        raise Unsupported("integers, which are neither infinite nor missing")
    return b.f32(n.tensor("self"))


@register(
    _aten.isnan.default,
    cases=lambda: [on_special_values(lambda x: torch.isnan(x).to(torch.float32)), on_special_values(torch.isnan)],
)
def isnan(b: Builder, n: NodeView) -> Value:
    """Whether an element is NaN."""
    return b.scale(is_number(b, _floats(b, n)), -1.0, 1.0).with_dtype(DType.BOOL)


@register(
    _aten.isinf.default,
    cases=lambda: [
        on_special_values(lambda x: torch.isinf(x).to(torch.float32)),
        on_special_values(lambda x: ~torch.isinf(x)),
    ],
)
def isinf(b: Builder, n: NodeView) -> Value:
    """Whether an element is infinite, of either sign."""
    size = b.unary(UnaryKind.ABS, _floats(b, n))
    return b.unary(UnaryKind.STEP, b.scale(size, 1.0, -_LARGEST)).with_dtype(DType.BOOL)
