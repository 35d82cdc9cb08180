"""Minima, and where extrema lie."""

from __future__ import annotations

import numpy as np
import torch

from ..bounds import EXACT
from ..ir.builder import BinaryKind, Builder, DType, UnaryKind, Value
from ..ir.dims import product, static
from ..registry import Arg, Case, NodeView, Unsupported, register
from ._missing import extremum, is_number, sortable, with_missing
from .creation import iota
from .select import choose

_aten = torch.ops.aten


@register(
    _aten.amin.default,
    cases=lambda: [
        Case(lambda x: torch.amin(x, 1), [(3, 4, 5)]),
        Case(lambda x: torch.amin(x, (0, 2), keepdim=True), [(3, 4, 5)], name="two"),
        Case(lambda x: torch.amin(x), [(3, 4)], name="all"),
        Case(lambda x: torch.amin(x.permute(2, 0, 1), 1), [(3, 4, 5)], name="permuted"),
        Case(lambda x: torch.amin(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def amin(b: Builder, n: NodeView) -> Value:
    """Minimum over any dimensions; NaN where there is one."""
    n.require_float()
    return extremum(b, n.tensor("self"), n.integers("dim"), n.flag("keepdim"), -1.0)


@register(_aten.max.default, cases=lambda: [Case(torch.max, [(3, 4, 5)]), Case(torch.max, [()], name="rank 0")])
def max_all(b: Builder, n: NodeView) -> Value:
    """Maximum of everything."""
    n.require_float()
    return extremum(b, n.tensor("self"), [], False, 1.0)


@register(_aten.min.default, cases=lambda: [Case(torch.min, [(3, 4, 5)]), Case(torch.min, [()], name="rank 0")])
def min_all(b: Builder, n: NodeView) -> Value:
    """Minimum of everything."""
    n.require_float()
    return extremum(b, n.tensor("self"), [], False, -1.0)


def first_maximum(b: Builder, rows: Value) -> Value:
    """Position of the first maximum, or of the first NaN, of each row [..., n] -> [...], integers.

    ggml's argmax names the last maximum, and passes over NaN.
    """
    number = is_number(b, rows)
    missing = b.unary(UnaryKind.STEP, b.sum_rows(b.scale(number, -1.0, 1.0)))
    # No difference to a NaN is positive: where one is, only what is a number may count as less, and does.
    is_less = b.unary(UnaryKind.STEP, b.binary(BinaryKind.SUB, b.max_rows(rows), rows))
    is_less = b.unary(UnaryKind.STEP, b.add(is_less, b.mul(number, missing)))
    # 0, -1, -2, ... where the maximum stands; what is less lies below all of those.
    falling = b.scale(iota(b, rows.shape[-1]), -1.0)
    return b.argmax(b.add(b.scale(is_less, float(-EXACT)), falling))


def _position(b: Builder, n: NodeView, sign: float) -> Value:
    x = b.scale(n.tensor("self"), sign)
    if not n.has("dim") or x.rank == 0:
        flat = b.reshape(b.contiguous(x), (1, product(x.shape)))
        return b.reshape(first_maximum(b, flat), n.out.shape)
    dim = n.integer("dim") % x.rank
    rows = b.contiguous(b.permute(x, [*(d for d in range(x.rank) if d != dim), dim]))
    return b.reshape(first_maximum(b, rows), n.out.shape)


def _cases(name: str) -> list[Case]:
    fn = getattr(torch, name)
    return [
        *(Case(lambda x, d=d: fn(x, d), [(3, 4, 5)], name=f"{d}") for d in (0, 1, 2, -2)),
        Case(lambda x: fn(x, 1, keepdim=True), [(3, 4, 5)], name="keep"),
        Case(fn, [(3, 4)], name="all"),
        Case(lambda x: fn(x, keepdim=True), [(3, 4)], name="all keep"),
        Case(lambda x: fn(torch.relu(x), 1), [(6, 9)], name="ties"),
        Case(lambda x: fn(x, 2), [(2, 3, 4, 2, 3)], name="rank 5"),
        Case(lambda x: fn(x.t(), 0), [(3, 5)], name="transposed"),
        Case(lambda x: fn(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: fn(torch.relu(x), 0), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="over dynamic"),
        Case(lambda x: fn(x, 1), [Arg((3, 5), torch.int64, -9, 9)], refused="int64", name="integers"),
    ]


@register(_aten.argmax.default, cases=lambda: _cases("argmax"))
def argmax(b: Builder, n: NodeView) -> Value:
    """Position of the first maximum, along a dimension or in the flattened tensor."""
    return _position(b, n, 1.0)


@register(_aten.argmin.default, cases=lambda: _cases("argmin"))
def argmin(b: Builder, n: NodeView) -> Value:
    """Position of the first minimum."""
    return _position(b, n, -1.0)


def _both(b: Builder, n: NodeView, sign: float) -> tuple[Value | None, ...]:
    n.require_float()
    x = b.f32(n.tensor("self"))
    used = n.used_outputs()
    if x.rank == 0:
        return x, b.constant(np.zeros((), dtype=np.float32)).with_dtype(DType.INT64)
    dim = n.integer("dim")
    value = None
    if 1 not in used or 0 in used:
        value = extremum(b, x, [dim], n.flag("keepdim"), sign)
    return value, _position(b, n, sign) if 1 in used else None


def _both_cases(name: str) -> list[Case]:
    fn = getattr(torch, name)
    return [
        Case(lambda x: tuple(fn(x, 1)), [(3, 4, 5)], name="both"),
        Case(lambda x: tuple(fn(x, 0, keepdim=True)), [(3, 4, 5)], name="keep"),
        Case(lambda x: fn(x, -1).values, [(3, 4, 5)], name="values"),
        Case(lambda x: fn(torch.relu(x), 1).indices, [(6, 9)], name="positions, ties"),
        Case(lambda x: fn(x, 1).values, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]


@register(_aten.max.dim, cases=lambda: _both_cases("max"))
def max_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Maximum along a dimension and the position of the first one."""
    return _both(b, n, 1.0)


@register(_aten.min.dim, cases=lambda: _both_cases("min"))
def min_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Minimum along a dimension and the position of the first one."""
    return _both(b, n, -1.0)


@register(
    _aten.median.default,
    cases=lambda: [
        Case(torch.median, [(5, 7)]),
        Case(torch.median, [(6,)], name="even"),
        Case(torch.median, [Arg((5, 7), torch.int8, -99, 99)], name="small ints"),
    ],
)
def median(b: Builder, n: NodeView) -> Value:
    """The middle one of all elements, the lower middle of an even number."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    middle, _ = _middle(b, b.reshape(b.contiguous(x), (1, product(x.shape))))
    return _typed(n, with_missing(b, x, [], False, b.reshape(middle, ())))


def _typed(n: NodeView, value: Value) -> Value:
    """The value in the type of the node's first result, if those are integers."""
    return value if n.out.dtype.is_float else value.with_dtype(n.out.dtype)


@register(
    _aten.median.dim,
    cases=lambda: [
        *(Case(lambda x, d=d: torch.median(x, d).values, [(3, 4, 5)], name=f"{d}") for d in (0, 1, -1)),
        Case(lambda x: torch.median(x, 1, keepdim=True).values, [(2, 3, 4, 5)], name="keep"),
        Case(lambda x: tuple(torch.median(x, 1)), [(3, 4, 5)], name="positions"),
        Case(lambda x: torch.median(x, 0, keepdim=True).indices, [(7, 3)], name="positions alone"),
        Case(lambda x: torch.median(torch.relu(x), 1).values, [(3, 4, 5)], name="ties"),
        Case(lambda x: torch.median(x, 1).values, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: torch.median(x, 1).values, [Arg((4, 6), torch.uint8, 0, 255)], name="bytes"),
    ],
)
def median_dim(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """The lower middle value along a dimension, and where one lies: of several equal ones torch names any."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    if x.rank == 0:
        raise Unsupported("the median of a single number")
    if not n.out.dtype.is_float and 1 in n.used_outputs():
        raise Unsupported("the place of a median of integers: torch names any of the equal ones")
    dim, keepdim = n.integer("dim") % x.rank, n.flag("keepdim")
    rows = b.contiguous(b.permute(x, [*(d for d in range(x.rank) if d != dim), dim]))
    values, at = _middle(b, rows)
    values = _typed(n, with_missing(b, x, [dim], keepdim, b.reshape(values, n.outs[0].shape)))
    if 1 not in n.used_outputs():
        return values, None
    missing = b.scale(is_number(b, rows), -1.0, 1.0)
    nowhere = b.reshape(b.f32(first_maximum(b, missing)), at.shape)
    found = choose(b, b.reshape(b.max_rows(missing), at.shape), nowhere, b.f32(at), at.shape)
    return values, b.reshape(found, n.outs[1].shape).with_dtype(DType.INT64)


def _middle(b: Builder, rows: Value) -> tuple[Value, Value]:
    """Of each row [..., n]: the lower middle element and its position, both [rows, 1]."""
    width = static(rows.shape[-1], "the reduced dimension")
    count = product(rows.shape[:-1])
    rows = b.reshape(rows, (count, width))
    at = b.contiguous(b.slice(b.argsort(sortable(b, rows), descending=False), 1, (width - 1) // 2, 1))
    return b.reshape(b.gather_rows(b.reshape(rows, (count, width, 1)), at), (count, 1)), at
