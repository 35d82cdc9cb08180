"""Booleans, which are 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value

from .compare import equal, negated

declare("__and__", bounds=bounds.both)
declare("__or__", bounds=bounds.either)


_aten = torch.ops.aten


def _truth(b: Builder, n: NodeView, name: str) -> Value:
    """An operand as 0 and 1."""
    if n.meta(name).dtype is DType.BOOL:
        return b.f32(n.tensor(name))
    if n.meta(name).dtype.is_float:
        # What is not equal to zero is true, a NaN too.
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
    return b.mul(_truth(b, n, "self"), _truth(b, n, "other")).with_dtype(DType.BOOL)


@register(
    _aten.bitwise_or.Tensor, _aten.logical_or.default, bounds=bounds.either, cases=lambda: _cases(torch.logical_or)
)
def logical_or(b: Builder, n: NodeView) -> Value:
    """One or both."""
    _only_bool(n)
    return b.clamp(b.add(_truth(b, n, "self"), _truth(b, n, "other")), maximum=1.0).with_dtype(DType.BOOL)


@register(_aten.bitwise_xor.Tensor, _aten.logical_xor.default, cases=lambda: _cases(torch.logical_xor))
def logical_xor(b: Builder, n: NodeView) -> Value:
    """One, not both."""
    _only_bool(n)
    difference = b.binary(BinaryKind.SUB, _truth(b, n, "self"), _truth(b, n, "other"))
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
    return negated(b, _truth(b, n, "self")).with_dtype(DType.BOOL)


def _reduced(fn: Callable[..., Any]) -> list[Case]:
    return [
        Case(lambda x: x + fn(x > 2.5, dim=1, keepdim=True), [(3, 5)]),
        Case(lambda x: x + fn(x > -2.5, dim=0), [(3, 5)], name="first"),
        Case(lambda x, y: x * fn(y, dim=-1, keepdim=True), [(3, 1), Arg((3, 5), torch.bool)], name="of an input"),
    ]


@register(_aten.any.dim, _aten.any.dims, cases=lambda: _reduced(torch.any))
def any_(b: Builder, n: NodeView) -> Value:
    """Whether one is true."""
    return _any(b, n, _truth(b, n, "self"))


@register(_aten.all.dim, _aten.all.dims, cases=lambda: _reduced(torch.all))
def all_(b: Builder, n: NodeView) -> Value:
    """Whether none is false."""
    return negated(b, _any(b, n, negated(b, _truth(b, n, "self")))).with_dtype(DType.BOOL)


@register(_aten.any.default, cases=lambda: [Case(lambda x: x + torch.any(x > 2.9), [(3, 5)])])
def any_all(b: Builder, n: NodeView) -> Value:
    """Whether one of all is true."""
    return b.unary(UnaryKind.STEP, b.reduce("sum", _truth(b, n, "self"), [], False)).with_dtype(DType.BOOL)


@register(_aten.all.default, cases=lambda: [Case(lambda x: x + torch.all(x > -2.9), [(3, 5)])])
def all_all(b: Builder, n: NodeView) -> Value:
    """Whether none of all is false."""
    some = b.unary(UnaryKind.STEP, b.reduce("sum", negated(b, _truth(b, n, "self")), [], False))
    return negated(b, some).with_dtype(DType.BOOL)


def _any(b: Builder, n: NodeView, truth: Value) -> Value:
    if n.out.dtype is not DType.BOOL:
        raise Unsupported("a truth value that is not a boolean")
    raw = n.raw("dim")
    dims = [raw] if isinstance(raw, int) else n.integers("dim")
    total = b.reduce("sum", truth, dims, n.flag("keepdim"))
    return b.unary(UnaryKind.STEP, total).with_dtype(DType.BOOL)
