"""Rotary position embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import custom_ops
from executorch_ggml.aot.registry import Arg, Builder, Case, NodeView, Value, register
from executorch_ggml.ir.dims import product


def _cases() -> list[Case]:
    def plain(mode: int, n_dims: int, scale: float = 1.0, ext: float = 0.0, attn: float = 1.0) -> Callable[..., Any]:
        def run(x: torch.Tensor, positions: torch.Tensor) -> Any:
            return custom_ops.rope(x, positions, None, n_dims, mode, 10000.0, scale, ext, attn, 32.0, 1.0, 64)

        return run

    def factors(x: torch.Tensor, positions: torch.Tensor, f: torch.Tensor) -> Any:
        return custom_ops.rope(x, positions, f, 8, 2, 500000.0, 1.0, 0.0, 1.0, 32.0, 1.0, 0)

    ids = Arg((5,), torch.int64, 0, 60)
    dynamic = ({1: ("t", 1, 9)}, {0: ("t", 1, 9)})
    return [
        Case(plain(2, 8), [(1, 5, 3, 8), ids], dynamic=dynamic, name="halves"),
        Case(plain(0, 8), [(1, 5, 3, 8), ids], dynamic=dynamic, name="pairs"),
        Case(plain(2, 6), [(5, 3, 8), ids], name="partial"),
        Case(plain(0, 4), [(2, 5, 3, 8), ids], name="partial_batch"),
        Case(plain(2, 16, 0.25, 1.0, 0.9), [(1, 5, 2, 16), ids], name="yarn"),
        Case(plain(2, 16, 0.25), [(1, 5, 2, 16), ids], name="linear_scaling"),
        Case(factors, [(1, 5, 3, 8), ids, Arg((4,), low=1.0, high=8.0)], name="factors"),
    ]


@register(torch.ops.executorch_ggml.rope.default, cases=_cases)
def rope(b: Builder, n: NodeView) -> Value:
    """x [..., T, H, D] is ggml's [D, H, T, ...] without a change; more than one leading dimension is folded."""
    n.require_float()
    x = n.tensor("x")
    folded = x if x.rank <= 4 else b.reshape(b.decided(x), (product(x.shape[:-3]), *x.shape[-3:]))
    result = b.rope(
        folded,
        n.tensor("positions"),
        n.opt_tensor("freq_factors"),
        n_dims=n.integer("n_dims"),
        mode=n.integer("mode"),
        freq_base=n.number("freq_base"),
        freq_scale=n.number("freq_scale"),
        ext_factor=n.number("ext_factor"),
        attn_factor=n.number("attn_factor"),
        beta_fast=n.number("beta_fast"),
        beta_slow=n.number("beta_slow"),
        n_ctx_orig=n.integer("n_ctx_orig"),
    )
    return b.reshape(result, x.shape)
