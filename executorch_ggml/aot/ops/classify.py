"""What an element is: its sign, missing, infinite."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value

from ._stored import as_stored
from .compare import is_number

_aten = torch.ops.aten
_LARGEST = 3.4028234663852886e38
_INF = float("inf")


def _odd(fn: object) -> Case:
    """On infinities, NaN and both zeros."""
    values = torch.tensor([_INF, -_INF, float("nan"), 0.0, -0.0, 1e-45, -2.5, 3e38])

    def run(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = fn(x * 0.0 + values)  # type: ignore[operator]
        return found

    return Case(run, [(3, 8)], name="odd")


@register(
    _aten.sign.default,
    cases=lambda: [
        Case(torch.sign, [(3, 5)]),
        Case(lambda x: torch.sign(torch.round(x).t()), [(3, 5)], name="transposed, zeros"),
        Case(torch.sign, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(torch.sign, [Arg((3, 5), torch.int64, -9, 9)], refused="int64", name="integers"),
        _odd(torch.sign),
    ],
)
def sign(b: Builder, n: NodeView) -> Value:
    """1, 0 or -1; 0 for NaN."""
    n.require_exact()
    x = as_stored(b, n.tensor("self"))
    below = b.unary(UnaryKind.STEP, b.scale(x, -1.0))
    return b.binary(BinaryKind.SUB, b.unary(UnaryKind.STEP, x), below).with_dtype(n.out.dtype)


def _floats(b: Builder, n: NodeView) -> Value:
    if not n.meta("self").dtype.is_float:
        raise Unsupported("integers, which are neither infinite nor missing")
    return b.f32(n.tensor("self"))


@register(
    _aten.isnan.default,
    cases=lambda: [_odd(lambda x: torch.isnan(x).to(torch.float32)), _odd(torch.isnan)],
)
def isnan(b: Builder, n: NodeView) -> Value:
    """Whether an element is NaN."""
    return b.scale(is_number(b, _floats(b, n)), -1.0, 1.0).with_dtype(DType.BOOL)


@register(
    _aten.isinf.default,
    cases=lambda: [_odd(lambda x: torch.isinf(x).to(torch.float32)), _odd(lambda x: ~torch.isinf(x))],
)
def isinf(b: Builder, n: NodeView) -> Value:
    """Whether an element is infinite, whatever its sign."""
    size = b.unary(UnaryKind.ABS, _floats(b, n))
    return b.unary(UnaryKind.STEP, b.scale(size, 1.0, -_LARGEST)).with_dtype(DType.BOOL)
