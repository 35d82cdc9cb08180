"""Sums, means, maxima, softmax."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._missing import extremum

_aten = torch.ops.aten


def _reductions(name: str) -> list[Case]:
    fn = getattr(torch, name)
    dims = [0, 1, 2, -1, (0, 1), (1, 2), (0, 2), (-1, -2), (0, 1, 2)]
    cases = [Case(lambda x, d=d: fn(x, dim=d), [(3, 4, 5)], name=f"{d}") for d in dims]
    cases += [Case(lambda x, d=d: fn(x, dim=d, keepdim=True), [(3, 4, 5)], name=f"{d} keep") for d in dims]
    cases += [
        Case(lambda x: fn(x, dim=(2, 3)), [(2, 3, 4, 5)], name="image"),
        Case(lambda x: fn(x, dim=(0, 2, 4)), [(2, 3, 2, 3, 4)], name="rank 5"),
        Case(lambda x: fn(x.permute(2, 0, 1), dim=1), [(3, 4, 5)], name="permuted"),
        Case(lambda x: fn(x, dim=0), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="over dynamic"),
        Case(lambda x: fn(x, dim=1, keepdim=True), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ]
    return cases


@register(
    _aten.mean.dim,
    cases=lambda: [*_reductions("mean"), Case(lambda x: x.mean((-1, -2)), [(2, 3, 4, 4)], name="reversed")],
)
def mean(b: Builder, n: NodeView) -> Value:
    """Mean over any dimensions."""
    _check_dtype(n)
    return b.reduce("mean", n.tensor("self"), n.integers("dim"), n.flag("keepdim"))


@register(_aten.sum.dim_IntList, bounds=bounds.summed, cases=lambda: _reductions("sum"))
def sum_dims(b: Builder, n: NodeView) -> Value:
    """Sum over any dimensions."""
    _check_dtype(n)
    return b.reduce("sum", n.tensor("self"), n.integers("dim"), n.flag("keepdim"))


@register(_aten.mean.default, cases=lambda: [Case(torch.mean, [(3, 4, 5)]), Case(torch.mean, [(7,)])])
def mean_all(b: Builder, n: NodeView) -> Value:
    """Mean of everything."""
    _check_dtype(n)
    return b.reduce("mean", n.tensor("self"), [], False)


@register(
    _aten.sum.default, bounds=bounds.summed, cases=lambda: [Case(torch.sum, [(3, 4, 5)]), Case(torch.sum, [(7,)])]
)
def sum_all(b: Builder, n: NodeView) -> Value:
    """Sum of everything."""
    _check_dtype(n)
    return b.reduce("sum", n.tensor("self"), [], False)


@register(
    _aten.amax.default,
    cases=lambda: [
        Case(lambda x: torch.amax(x, 1), [(3, 4, 5)]),
        Case(lambda x: torch.amax(x, (0, 2), keepdim=True), [(3, 4, 5)], name="two"),
        Case(lambda x: torch.amax(x, -1), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def amax(b: Builder, n: NodeView) -> Value:
    """Maximum over any dimensions; NaN where there is one."""
    n.require_float()
    return extremum(b, n.tensor("self"), n.integers("dim"), n.flag("keepdim"), 1.0)


def _check_dtype(n: NodeView) -> None:
    n.require_exact()


def _softmax_cases(fn: Callable[..., torch.Tensor]) -> list[Case]:
    return [
        Case(lambda x: fn(x, dim=-1), [(3, 5)]),
        Case(lambda x: fn(x, dim=0), [(3, 5)], name="first"),
        Case(lambda x: fn(x, dim=1), [(2, 3, 4, 5)], name="middle"),
        Case(lambda x: fn(x, dim=-1), [(2, 3, 2, 3, 4)], name="rank 5"),
        Case(lambda x: fn(x * 40, dim=-1), [(3, 5)], name="far apart"),
        Case(lambda x: fn(x.transpose(0, 1), dim=-1), [(3, 5)], name="transposed"),
        Case(lambda x: fn(x, dim=1), [(5, 7)], dynamic=[{0: ("n", 1, 9), 1: ("m", 1, 9)}], name="dynamic"),
    ]


@register(_aten._softmax.default, _aten.softmax.int, keep=True, cases=lambda: _softmax_cases(torch.softmax))
def softmax(b: Builder, n: NodeView) -> Value:
    """Softmax along any dimension."""
    _floats(n)
    x, dim = _rows_last(b, n)
    return _rows_back(b, n, b.softmax(x), dim)


@register(
    _aten._log_softmax.default,
    _aten.log_softmax.int,
    keep=True,
    cases=lambda: _softmax_cases(torch.log_softmax),
)
def log_softmax(b: Builder, n: NodeView) -> Value:
    """x - max - log(sum(exp(x - max))): a logarithm of softmax would lose small probabilities."""
    _floats(n)
    x, dim = _rows_last(b, n)
    shifted = b.binary(BinaryKind.SUB, x, b.max_rows(x))
    total = b.unary(UnaryKind.LOG, b.sum_rows(b.unary(UnaryKind.EXP, shifted)))
    return _rows_back(b, n, b.binary(BinaryKind.SUB, shifted, total), dim)


def _floats(n: NodeView) -> None:
    n.require_float()
    if not n.meta("self").dtype.is_float:
        raise Unsupported("softmax of integers")


def _rows_last(b: Builder, n: NodeView) -> tuple[Value, int]:
    x = b.f32(n.tensor("self"))
    if x.rank == 0:
        return b.reshape(x, (1,)), 0
    dim = n.integer("dim") % x.rank
    return (x if dim == x.rank - 1 else b.contiguous(b.transpose(x, dim, -1))), dim


def _rows_back(b: Builder, n: NodeView, v: Value, dim: int) -> Value:
    if n.out.rank == 0:
        return b.reshape(v, ())
    return v if dim == v.rank - 1 else b.transpose(v, dim, -1)


@register(
    _aten.cumsum.default,
    bounds=bounds.running_sum,
    cases=lambda: [
        Case(lambda x: torch.cumsum(x, -1), [(3, 5)]),
        Case(lambda x: torch.cumsum(x, 0), [(3, 5)], name="first"),
        Case(lambda x: torch.cumsum(x, 1), [(2, 3, 4)], name="middle"),
        Case(lambda x: torch.cumsum(x, 0), [Arg((5,), torch.int64, 0, 9)], refused="int64", name="int"),
    ],
)
def cumsum(b: Builder, n: NodeView) -> Value:
    """Running sum along any dimension."""
    n.require_exact()
    x, dim = _rows_last(b, n)
    return _rows_back(b, n, b.cumsum(x), dim)
