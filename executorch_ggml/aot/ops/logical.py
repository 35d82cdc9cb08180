"""Logic: `logical_and`, `logical_or`, `logical_xor`, `logical_not`, and `bitwise_and`, `bitwise_or`, `bitwise_xor`,
`bitwise_not` of booleans, which are 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value

from .compare import equal, negated

_aten = torch.ops.aten


declare("__and__", bounds=bounds.both)


declare("__or__", bounds=bounds.either)


def truth(b: Builder, n: NodeView, name: str) -> Value:
    """An operand as 0 and 1."""
    if n.meta(name).dtype is DType.BOOL:
        return b.f32(n.tensor(name))
    if n.meta(name).dtype.is_float:
        # All but zero is true, a NaN too.
        return negated(b, equal(b, b.f32(n.tensor(name)), 0.0, whole=False))
    return b.unary(UnaryKind.STEP, b.unary(UnaryKind.ABS, b.rounded(n.tensor(name))))


def _only_bool(n: NodeView) -> None:
    if n.out.dtype is not DType.BOOL:
        raise Unsupported(f"bits of {n.out.dtype.name.lower()} stay with ExecuTorch")


def _cases(fn: Callable[..., Any]) -> list[Case]:
    flags = Arg((3, 5), torch.bool)
    return [
        Case(lambda x, y: x * fn(x > 0, y), [(3, 5), flags], name="with a mask"),
        Case(lambda x, y: x * fn(y[:1], x > 1), [(3, 5), flags], name="broadcast"),
    ]


@register(
    _aten.bitwise_and.Tensor, _aten.logical_and.default, bounds=bounds.both, cases=lambda: _cases(torch.logical_and)
)
def logical_and(b: Builder, n: NodeView) -> Value:
    """Both."""
    _only_bool(n)
    return b.mul(truth(b, n, "self"), truth(b, n, "other")).with_dtype(DType.BOOL)


@register(
    _aten.bitwise_or.Tensor, _aten.logical_or.default, bounds=bounds.either, cases=lambda: _cases(torch.logical_or)
)
def logical_or(b: Builder, n: NodeView) -> Value:
    """One or both."""
    _only_bool(n)
    return b.clamp(b.add(truth(b, n, "self"), truth(b, n, "other")), maximum=1.0).with_dtype(DType.BOOL)


@register(_aten.bitwise_xor.Tensor, _aten.logical_xor.default, cases=lambda: _cases(torch.logical_xor))
def logical_xor(b: Builder, n: NodeView) -> Value:
    """One, not both."""
    _only_bool(n)
    difference = b.binary(BinaryKind.SUB, truth(b, n, "self"), truth(b, n, "other"))
    return b.unary(UnaryKind.ABS, difference).with_dtype(DType.BOOL)


@register(
    _aten.bitwise_not.default,
    _aten.logical_not.default,
    bounds=bounds.inverted,
    cases=lambda: [
        Case(lambda x, y: x * ~y, [(3, 5), Arg((3, 5), torch.bool)]),
        Case(lambda x: x + torch.logical_not(torch.round(x)), [(3, 5)], name="of floats"),
        Case(lambda x, y: x * ~y, [(3, 5), Arg((3, 5), torch.int64, -4, 4)], refused="int64", name="bits"),
    ],
)
def logical_not(b: Builder, n: NodeView) -> Value:
    """Neither."""
    _only_bool(n)
    return negated(b, truth(b, n, "self")).with_dtype(DType.BOOL)
