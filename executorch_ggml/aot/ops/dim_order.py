"""Copies of the edge dialect that only name a memory layout: `_clone_dim_order`, `_to_dim_order_copy`."""

from __future__ import annotations

import contextlib
import importlib

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import register

from .clone import clone
from .to_copy import to_copy


def _register_dim_order() -> None:
    """Edge-dialect copies that only name a memory layout."""
    ops = getattr(torch.ops, "dim_order_ops", None)
    rules = {"_clone_dim_order": (clone, bounds.first), "_to_dim_order_copy": (to_copy, bounds.converted)}
    for name, (function, rule) in rules.items():
        packet = getattr(ops, name, None)
        if packet is not None:
            register(packet.default, moves=True, bounds=rule, either_side=True)(function)


with contextlib.suppress(ImportError):  # an older or newer ExecuTorch may not have these operators
    importlib.import_module("executorch.exir.passes.dim_order_ops_registry")


_register_dim_order()
