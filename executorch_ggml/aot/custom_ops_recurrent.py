"""The high-level operator of recurrent layers, in the manner of `custom_ops`.

Importing this module registers it; importing it twice is harmless.
"""

from __future__ import annotations

import torch

from .custom_ops import check

__all__ = ["GATES", "MAX_STEPS", "next_state", "recurrent_layer"]

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
"""Rows of the weights for each hidden unit, by kind of cell; in torch's order (LSTM: i f g o, GRU: r z n)."""

MAX_STEPS = 16384
"""The runtime's limit for one layer."""


def _check(
    gates: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    hidden: torch.Tensor,
    cell_state: torch.Tensor | None,
    cell: str,
) -> None:
    check(cell in GATES, lambda: f"recurrent_layer: cell must be one of {sorted(GATES)}: {cell!r}")
    check(
        gates.dim() == 3 and weight.dim() == 2 and hidden.dim() == 2,
        lambda: "recurrent_layer: want gates [T, B, G H], weight [G H, H], hidden [B, H]",
    )
    rows = GATES[cell] * weight.shape[1]
    check(
        weight.shape[0] == rows and gates.shape[2] == rows and hidden.shape[1] == weight.shape[1],
        lambda: (
            f"recurrent_layer: {tuple(weight.shape)} of weights for gates {tuple(gates.shape)} and a hidden state "
            f"{tuple(hidden.shape)}"
        ),
    )
    check(bias is None or tuple(bias.shape) == (rows,), lambda: f"recurrent_layer: the bias must have {rows} elements")
    check((cell_state is not None) == (cell == "lstm"), lambda: "recurrent_layer: an LSTM, and only that, has a cell")


def next_state(
    own: torch.Tensor, inputs: torch.Tensor, hidden: torch.Tensor, cell_state: torch.Tensor | None, cell: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One step: the hidden state's share of the gates and the inputs' share (both [B, G H]) to the new states."""
    if cell == "tanh":
        return torch.tanh(own + inputs), None
    if cell == "relu":
        return torch.relu(own + inputs), None
    if cell == "lstm":
        i, f, g, o = (own + inputs).chunk(4, 1)
        assert cell_state is not None
        cell_state = torch.sigmoid(f) * cell_state + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell_state), cell_state
    own_r, own_z, own_n = own.chunk(3, 1)
    in_r, in_z, in_n = inputs.chunk(3, 1)
    fresh = torch.tanh(in_n + torch.sigmoid(in_r + own_r) * own_n)
    return fresh + torch.sigmoid(in_z + own_z) * (hidden - fresh), None


@torch.library.custom_op("executorch_ggml::recurrent_layer", mutates_args=())
def recurrent_layer(
    gates: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    hidden: torch.Tensor,
    cell_state: torch.Tensor | None,
    cell: str,
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One direction of one recurrent layer, all steps; the inputs' share of the gates is one product beforehand.

    Args:
        gates: [T, B, G H], the inputs times their weights, with their bias.
        weight: [G H, H], torch's weight_hh.
        bias: [G H], torch's bias_hh, or None.
        hidden: [B, H], before the first step.
        cell_state: [B, H], of an LSTM; else None.
        cell: "tanh", "relu", "lstm" or "gru".
        reverse: from the last step to the first; results stay in the order of the inputs.

    Returns:
        (the hidden states [T, B, H], the last state [B, H]: an LSTM's cell state, else the hidden state), in gates'
        dtype, contiguous.

    Raises:
        RuntimeError: a shape is not as above.
    """
    _check(gates, weight, bias, hidden, cell_state, cell)
    compute = torch.promote_types(gates.dtype, torch.float32)
    inputs, w, h = gates.to(compute), weight.to(compute), hidden.to(compute)
    b = None if bias is None else bias.to(compute)
    c = None if cell_state is None else cell_state.to(compute)
    outputs = [torch.empty(0)] * gates.shape[0]
    for t in reversed(range(gates.shape[0])) if reverse else range(gates.shape[0]):
        h, c = next_state(torch.nn.functional.linear(h, w, b), inputs[t], h, c, cell)
        outputs[t] = h
    last = h if c is None else c
    return torch.stack(outputs).to(gates.dtype), last.to(gates.dtype).clone()


@recurrent_layer.register_fake
def _(
    gates: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    hidden: torch.Tensor,
    cell_state: torch.Tensor | None,
    cell: str,
    reverse: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    _check(gates, weight, bias, hidden, cell_state, cell)
    return gates.new_empty((gates.shape[0], gates.shape[1], weight.shape[1])), gates.new_empty(hidden.shape)
