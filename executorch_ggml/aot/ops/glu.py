"""Gated units: `glu` of one tensor, and the `glu` of two that a pass finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from executorch_ggml.aot import custom_ops
from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, GluKind, UnaryKind, Value

_aten = torch.ops.aten


_KINDS = {"silu": GluKind.SWIGLU, "gelu": GluKind.GEGLU_ERF, "relu": GluKind.REGLU}


def _cases() -> list[Case]:
    def unit(activation: str) -> Callable[..., Any]:
        def run(gate: torch.Tensor, up: torch.Tensor) -> Any:
            return custom_ops.glu(gate, up, activation)

        return run

    def halves(x: torch.Tensor) -> Any:
        gate, up = x.chunk(2, dim=-1)
        return custom_ops.glu(gate, up, "silu")

    def permuted(x: torch.Tensor, up: torch.Tensor) -> Any:
        return custom_ops.glu(x.permute(2, 0, 1), up, "silu")

    dynamic = ({1: ("t", 1, 9)}, {1: ("t", 1, 9)})
    return [
        *(Case(unit(a), [(1, 5, 6), (1, 5, 6)], dynamic=dynamic, name=a) for a in _KINDS),
        Case(halves, [(3, 5, 12)], name="halves_of_one_product"),
        Case(permuted, [(3, 4, 5), (5, 3, 4)], name="permuted"),
    ]


@register(torch.ops.executorch_ggml.glu.default, cases=_cases)
def glu_of_two(b: Builder, n: NodeView) -> Value:
    """activation(gate) * up."""
    n.require_float()
    kind = _KINDS.get(n.text("activation"))
    if kind is None:
        raise Unsupported(f"activation {n.text('activation')!r}")
    return b.glu(kind, n.tensor("gate"), n.tensor("up"))


@register(
    _aten.glu.default,
    keep=True,
    cases=lambda: [
        Case(F.glu, [(3, 6)]),
        Case(lambda x: F.glu(x, 1), [(2, 4, 3)], name="middle"),
    ],
)
def glu_of_one(b: Builder, n: NodeView) -> Value:
    """First half times sigmoid of the second, along any dimension."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    size = x.shape[dim]
    if not isinstance(size, int):
        raise Unsupported("glu along a dynamic dimension")
    first = b.slice(x, dim, 0, size // 2)
    second = b.slice(x, dim, size // 2, size // 2)
    return b.mul(first, b.unary(UnaryKind.SIGMOID, second))
