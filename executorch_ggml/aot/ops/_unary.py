"""Registers a function of each element that ggml computes as torch does. No operator is named here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._fp16 import as_stored

_SHAPES = [(7,), (3, 5), (2, 3, 4), (2, 3, 4, 5), (2, 1, 3, 2, 4)]


Function = Callable[[torch.Tensor], torch.Tensor]


def unary_cases(fn: Function, low: float = -3.0, high: float = 3.0, tolerance: float = 1e-9) -> list[Case]:
    cases = [Case(fn, [Arg(s, low=low, high=high)], tolerance=tolerance) for s in _SHAPES]
    # A permuted operand, and a dynamic dimension.
    cases.append(
        Case(
            lambda x: fn(x.permute(1, 2, 0)), [Arg((2, 3, 4), low=low, high=high)], tolerance=tolerance, name="permuted"
        )
    )
    cases.append(
        Case(fn, [Arg((5, 3), low=low, high=high)], dynamic=[{0: ("n", 1, 9)}], tolerance=tolerance, name="dynamic")
    )
    return cases


def register_unary(
    target: Any,
    kind: UnaryKind,
    fn: Function,
    keep: bool = False,
    low: float = -3.0,
    high: float = 3.0,
    whole: bool = False,
    jumps: bool = False,
    **facts: Any,
) -> None:
    """Registers one function of each element.

    ``whole``: of an integer it makes an integer. ``jumps``: an operand's last digit may decide. ``facts``: see
    ``register``.
    """

    @register(target, keep=keep, **facts, cases=lambda: unary_cases(fn, low, high))
    def lower(b: Builder, n: NodeView) -> Value:
        if whole:
            n.require_exact()
        else:
            n.require_float()
        return b.unary(kind, as_stored(b, n.tensor("self")) if jumps else n.tensor("self"))
