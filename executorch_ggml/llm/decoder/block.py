"""The frame of every block: two residual steps, a mixer of positions and a feed-forward part. It owns its states."""

from __future__ import annotations

import enum
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from executorch_ggml.aot.custom_ops import moe_topk, mul_mat_id

from .config import ModelConfig
from .layers import Linear, Norm, Weight

__all__ = ["Block", "Place", "StateKind"]

# The smallest normal F16: llama.cpp's lower bound for the sum of the chosen experts' weights before it divides.
_MIN_WEIGHT_SUM = 2.0**-14


class StateKind(enum.Enum):
    """How a state follows the sequence.

    POSITIONS: row p belongs to position p, as in a KV cache. Later rows have no effect, so going back is free.
    SEQUENCE: a summary of all tokens so far. It cannot go back; the sequence is run again from its beginning.
    """

    POSITIONS = "positions"
    SEQUENCE = "sequence"


@dataclass(frozen=True)
class Place:
    """A place in the stack, `blk.<index>` of the file.

    present: names of the file's tensors, which decide on biases and on fused projections.
    last_only: the output is computed for the last position alone. States are written for all positions.
    """

    config: ModelConfig
    index: int
    present: Container[str]
    last_only: bool = False

    def has(self, name: str) -> bool:
        """True if the file has `blk.<index>.<name>`."""
        return f"blk.{self.index}.{name}" in self.present


class Block(nn.Module):
    """x + mix(norm(x)), then x + feed(norm(x)).

    A family derives from this class, or from `AttentionBlock`. It gives `mix` and `add_mixer`, and replaces other
    methods where its arithmetic differs. Attributes are called after the tensors of the file.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        c = place.config
        self.config, self.last_only = c, place.last_only
        self.states: dict[str, StateKind] = {}
        self.attn_norm = Norm(c.width, c.eps)
        self.add_mixer(place)
        self.ffn_norm = Norm(c.width, c.eps)
        self.add_feed_forward(place)

    def add_mixer(self, place: Place) -> None:
        """Makes the parameters and states of `mix`."""
        raise NotImplementedError

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        """Mixes positions: normalised x [1, T, width] -> [1, T, width], or [1, 1, width] when last_only."""
        raise NotImplementedError

    def add_linear(self, place: Place, name: str, columns: int, rows: int) -> None:
        """A matrix, with a bias if the file has one."""
        self.add_module(name, Linear(columns, rows, bias=place.has(f"{name}.bias")))

    def add_rows(self, name: str, *shape: int) -> None:
        """A state of StateKind.POSITIONS: [1, max_seq_len, *shape], zero at first."""
        self.states[name] = StateKind.POSITIONS
        self.register_buffer(name, torch.zeros(1, self.config.max_seq_len, *shape))

    def add_summary(self, name: str, *shape: int) -> None:
        """A state of StateKind.SEQUENCE: [1, *shape], zero at first. Read it with `summary`."""
        self.states[name] = StateKind.SEQUENCE
        self.register_buffer(name, torch.zeros(1, *shape))

    def summary(self, name: str, positions: Tensor) -> Tensor:
        """The contents of a summary, or zeros in a call that starts at position 0: there a new sequence begins."""
        # A choice, not a product: an earlier sequence may have left NaN, and NaN times 0 is NaN.
        return torch.where(positions.to(torch.float32)[:1] > 0, self.get_buffer(name), 0.0)

    def add_feed_forward(self, place: Place) -> None:
        c = self.config
        # A dense feed-forward part without a gate of its own has it in the first half of ffn_up.
        self.fused_gate = not c.experts and not place.has("ffn_gate.weight")
        if c.experts:
            self.ffn_gate_inp = Linear(c.width, c.experts)
            self.ffn_gate_exps = Weight(c.experts, c.expert_ff, c.width)
            self.ffn_up_exps = Weight(c.experts, c.expert_ff, c.width)
            self.ffn_down_exps = Weight(c.experts, c.width, c.expert_ff)
            return
        if not self.fused_gate:
            self.add_linear(place, "ffn_gate", c.width, c.ff)
        self.add_linear(place, "ffn_up", c.width, 2 * c.ff if self.fused_gate else c.ff)
        self.add_linear(place, "ffn_down", c.ff, c.width)

    def activate(self, gate: Tensor, up: Tensor) -> Tensor:
        return F.silu(gate) * up

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward part: normalised x [1, T, width] -> [1, T, width]."""
        if self.config.experts:
            return self._mixture(x)
        if self.fused_gate:
            gate, up = self.ffn_up(x).chunk(2, dim=-1)
        else:
            gate, up = self.ffn_gate(x), self.ffn_up(x)
        output: Tensor = self.ffn_down(self.activate(gate, up))
        return output

    def _mixture(self, x: Tensor) -> Tensor:
        """The experts_used experts with the largest softmax score, mixed with those scores scaled to sum 1."""
        rows = x.flatten(0, 1)
        scores = self.ffn_gate_inp(rows).softmax(dim=-1)
        weights, ids = moe_topk(scores, self.config.experts_used)
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=_MIN_WEIGHT_SUM)
        shared = rows.unsqueeze(1)
        gate = mul_mat_id(self.ffn_gate_exps.weight, shared, ids)
        up = mul_mat_id(self.ffn_up_exps.weight, shared, ids)
        outputs = mul_mat_id(self.ffn_down_exps.weight, self.activate(gate, up), ids) * weights.unsqueeze(-1)
        # Sum over the experts as additions of slices: ggml sums along its fastest dimension only.
        total = outputs[:, 0]
        for i in range(1, self.config.experts_used):
            total = total + outputs[:, i]
        return torch.unsqueeze(total, 0)

    def forward(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        """x: [1, T, width], positions: int64 [T] -> [1, T, width], or [1, 1, width] when last_only."""
        mixed = self.mix(self.attn_norm(x), positions, factors)
        if self.last_only:
            x = x[:, -1:]
        x = x + mixed
        return x + self.feed(self.ffn_norm(x))

    def __getattr__(self, name: str) -> Any:
        # Typed as Any: which projections exist depends on the file (nn.Module types attributes as Tensor | Module).
        return super().__getattr__(name)
