"""Gated units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import custom_ops
from executorch_ggml.aot.registry import Builder, Case, NodeView, Unsupported, Value, register
from executorch_ggml.ir.builder import GluKind

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
def glu(b: Builder, n: NodeView) -> Value:
    """activation(gate) * up."""
    n.require_float()
    kind = _KINDS.get(n.text("activation"))
    if kind is None:
        raise Unsupported(f"activation {n.text('activation')!r}")
    return b.glu(kind, n.tensor("gate"), n.tensor("up"))
