"""`sum` and `mean`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

_aten = torch.ops.aten


def _check_dtype(n: NodeView) -> None:
    n.require_exact()


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
