"""`any` and `all`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, UnaryKind, Value

from .compare import negated
from .logical import truth

_aten = torch.ops.aten


def _reduced(fn: Callable[..., Any]) -> list[Case]:
    return [
        Case(lambda x: x + fn(x > 2.5, dim=1, keepdim=True), [(3, 5)]),
        Case(lambda x: x + fn(x > -2.5, dim=0), [(3, 5)], name="first"),
        Case(lambda x, y: x * fn(y, dim=-1, keepdim=True), [(3, 1), Arg((3, 5), torch.bool)], name="of an input"),
    ]


@register(_aten.any.dim, _aten.any.dims, cases=lambda: _reduced(torch.any))
def any_(b: Builder, n: NodeView) -> Value:
    """Whether one is true."""
    return _any(b, n, truth(b, n, "self"))


@register(_aten.all.dim, _aten.all.dims, cases=lambda: _reduced(torch.all))
def all_(b: Builder, n: NodeView) -> Value:
    """Whether none is false."""
    return negated(b, _any(b, n, negated(b, truth(b, n, "self")))).with_dtype(DType.BOOL)


@register(_aten.any.default, cases=lambda: [Case(lambda x: x + torch.any(x > 2.9), [(3, 5)])])
def any_all(b: Builder, n: NodeView) -> Value:
    """Whether one of all is true."""
    return b.unary(UnaryKind.STEP, b.reduce("sum", truth(b, n, "self"), [], False)).with_dtype(DType.BOOL)


@register(_aten.all.default, cases=lambda: [Case(lambda x: x + torch.all(x > -2.9), [(3, 5)])])
def all_all(b: Builder, n: NodeView) -> Value:
    """Whether none of all is false."""
    some = b.unary(UnaryKind.STEP, b.reduce("sum", negated(b, truth(b, n, "self")), [], False))
    return negated(b, some).with_dtype(DType.BOOL)


def _any(b: Builder, n: NodeView, truth: Value) -> Value:
    if n.out.dtype is not DType.BOOL:
        raise Unsupported("a truth value that is not a boolean")
    raw = n.raw("dim")
    dims = [raw] if isinstance(raw, int) else n.integers("dim")
    total = b.reduce("sum", truth, dims, n.flag("keepdim"))
    return b.unary(UnaryKind.STEP, total).with_dtype(DType.BOOL)
