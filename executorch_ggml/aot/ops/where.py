"""A choice for each element: `where`, `masked_fill`.

ggml has no such operation, and ``c * a + (1 - c) * b`` is NaN if the value that is not taken is infinite. A gated unit
with ReLU does it: its kernel yields ``a`` if the gate is positive and 0 if it is not, for every ``a``.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, GluKind, Value
from executorch_ggml.ir.dims import Shape

from .compare import negated

_aten = torch.ops.aten


_INF = float("inf")


_FLAGS = Arg((3, 5), torch.bool)


def _chosen(b: Builder, condition: Value, value: Value | float, shape: Shape) -> Value | None:
    """value where the condition is 1, 0 elsewhere; None when that is zero everywhere."""
    if isinstance(value, float) and math.isfinite(value):
        return b.scale(b.expand(condition, shape), value) if value else None
    whole = b.fill(value, shape) if isinstance(value, float) else b.expand(b.f32(value), shape)
    return b.glu(GluKind.REGLU, b.contiguous(b.expand(condition, shape)), b.contiguous(whole))


def choose(b: Builder, condition: Value, yes: Value | float, no: Value | float, shape: Shape) -> Value:
    """yes where the condition is 1, no where it is 0, broadcast to a shape."""
    parts = (_chosen(b, condition, yes, shape), _chosen(b, negated(b, condition), no, shape))
    found = [p for p in parts if p is not None]
    if not found:
        return b.fill(0.0, shape)
    return found[0] if len(found) == 1 else b.add(found[0], found[1])


def _operand(b: Builder, n: NodeView, name: str) -> Value | float:
    if not n.is_tensor(name):
        return n.number(name)
    number = n.scalar(name)
    return b.f32(n.tensor(name)) if number is None or n.meta(name).rank else number


def _where_cases() -> list[Case]:
    def poles(c: torch.Tensor, x: torch.Tensor) -> Any:
        ends = torch.where(c, x - _INF, x * 0.0)
        return torch.where(c, x, ends), torch.where(c, ends, x + _INF)

    return [
        Case(torch.where, [_FLAGS, (3, 5), (3, 5)]),
        Case(torch.where, [_FLAGS, (5,), (3, 1)], name="broadcast"),
        Case(lambda c, x: torch.where(c, x.t(), 2.5), [Arg((5, 3), torch.bool), (3, 5)], name="number"),
        Case(lambda c, x: torch.where(c, 0.0, x), [_FLAGS, (3, 5)], name="zero"),
        Case(lambda c, x: torch.where(c, x, -_INF), [_FLAGS, (3, 5)], name="infinite number"),
        Case(poles, [_FLAGS, (3, 5)], name="infinite elements"),
        Case(lambda x, y: torch.where(x > y, x, y), [(3, 5), (3, 5)], name="of a comparison"),
        Case(
            lambda x: x + torch.where(torch.arange(5) > 2, torch.arange(5), -1).to(torch.float32),
            [(3, 5)],
            name="bounded ints",
        ),
        Case(lambda x: torch.where(x > 0, x, x * 0.5), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.where.self, bounds=bounds.union(1, 2), cases=_where_cases)
def where(b: Builder, n: NodeView) -> Value:
    """self where the condition holds, other elsewhere."""
    n.require_exact()
    if n.meta("condition").dtype is not DType.BOOL:
        raise Unsupported(f"a {n.meta('condition').dtype.name.lower()} condition")
    yes, no = _operand(b, n, "self"), _operand(b, n, "other")
    return choose(b, b.f32(n.tensor("condition")), yes, no, n.out.shape).with_dtype(n.out.dtype)


@register(
    _aten.masked_fill.Scalar,
    _aten.masked_fill.Tensor,
    keep=True,
    bounds=bounds.union(0, 2),
    cases=lambda: [
        Case(lambda x, m: x.masked_fill(m, 2.0), [(3, 5), _FLAGS]),
        Case(lambda x, m: x.masked_fill(m, -_INF), [(2, 3, 5), _FLAGS], name="infinite, broadcast"),
        Case(lambda x, m: torch.softmax(x.masked_fill(m, -1e9), -1), [(3, 5), Arg((1, 5), torch.bool)], name="softmax"),
    ],
)
def masked_fill(b: Builder, n: NodeView) -> Value:
    """value where the mask holds, self elsewhere."""
    n.require_exact()
    if n.meta("mask").dtype is not DType.BOOL:
        raise Unsupported("a mask that is not boolean")
    value = _operand(b, n, "value")
    found = choose(b, b.f32(n.tensor("mask")), value, b.f32(n.tensor("self")), n.out.shape)
    return found.with_dtype(n.out.dtype)
