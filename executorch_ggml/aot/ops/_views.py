"""Operands and test values for operators that only move data. Registers no operator."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import NodeView
from executorch_ggml.ir.builder import Builder, Kind, Value
from executorch_ggml.ir.dims import is_one, shape_of


def floats(b: Builder, n: NodeView) -> Value:
    v = n.tensor("self")
    if v.kind is Kind.NODE:
        return v
    if all(is_one(d) for d in v.shape) and shape_of(v.shape) == n.out.shape:
        return v
    return b.f32(v)


def with_relu(x: torch.Tensor) -> torch.Tensor:
    """Something delegated after a movement, so that the movement is worth delegating."""
    return torch.relu(x)
