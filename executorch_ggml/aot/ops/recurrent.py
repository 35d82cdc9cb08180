"""`recurrent_layer`: the loop of an LSTM, GRU or RNN over its steps, as one node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from executorch_ggml.aot import custom_ops_recurrent
from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Builder, Case, NodeView, Unsupported, Value, declare, register
from executorch_ggml.ir.builder import Cell

declare("lstm", "gru", "rnn_tanh", "rnn_relu", flops=flops.recurrent)  # taken apart by passes/recurrent.py


_CELLS = {"tanh": Cell.TANH, "relu": Cell.RELU, "lstm": Cell.LSTM, "gru": Cell.GRU}


def _operator(cell: str, reverse: bool = False, bias: bool = True) -> Callable[..., Any]:
    rows, units = custom_ops_recurrent.GATES[cell] * 5, 5
    made = torch.Generator().manual_seed(3)
    weight = torch.randn(rows, units, generator=made) * 0.4
    offset = torch.randn(rows, generator=made) if bias else None

    def run(gates: torch.Tensor, hidden: torch.Tensor, state: torch.Tensor | None = None) -> Any:
        return torch.ops.executorch_ggml.recurrent_layer(gates, weight, offset, hidden, state, cell, reverse)

    return run


def _cases() -> list[Case]:
    batch = [{1: ("b", 1, 9)}, {0: ("b", 1, 9)}, {0: ("b", 1, 9)}]
    shapes = {"tanh": 5, "relu": 5, "lstm": 20, "gru": 15}
    return [
        *(
            Case(_operator(c, r), [(6, 2, n), (2, 5), *([(2, 5)] if c == "lstm" else [])], name=f"{c} {r}")
            for c, n in shapes.items()
            for r in (False, True)
        ),
        Case(_operator("gru", bias=False), [(6, 2, 15), (2, 5)], name="no bias"),
        Case(_operator("gru"), [(3, 2, 15), (2, 5)], dynamic=batch[:2], name="gru, dynamic batch"),
        Case(_operator("lstm", True), [(3, 2, 20), (2, 5), (2, 5)], dynamic=batch, name="lstm, dynamic batch"),
    ]


@register(torch.ops.executorch_ggml.recurrent_layer.default, flops=flops.recurrent_steps, cases=_cases)
def recurrent_layer(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """gates [T, B, G H] -> hidden states [T, B, H] and the last state [B, H]."""
    if not n.outs[0].dtype.is_float:
        raise Unsupported("recurrent layers of integers")
    cell, reverse = _CELLS[n.text("cell")], n.flag("reverse")
    state = n.opt_tensor("cell_state")
    states = [n.tensor("hidden")] if state is None else [n.tensor("hidden"), state]
    return b.recurrence(cell, reverse, n.tensor("weight"), n.tensor("gates"), n.opt_tensor("bias"), states)
