"""LFM2: blocks with a short causal convolution, and some blocks with attention between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from executorch_ggml.errors import FormatError, UnsupportedError
from executorch_ggml.llm.decoder.attention import AttentionBlock
from executorch_ggml.llm.decoder.block import Block, Place
from executorch_ggml.llm.decoder.config import ROPE_NEOX, ModelConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.layers import Linear, Weight
from executorch_ggml.llm.decoder.metadata import Metadata


@dataclass(frozen=True, kw_only=True)
class Lfm2Config(ModelConfig):
    """attention: which layers have it; the others have a convolution over `taps` positions."""

    attention: tuple[bool, ...]
    taps: int


class ShortConv(nn.Module):
    """The parameters of a convolution, called as in the file."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.in_proj = Linear(width, 3 * width)
        self.conv = Weight(width, taps)
        self.out_proj = Linear(width, width)


class ShortConvBlock(Block):
    """Gates the input, convolves each channel with the positions before, and gates the result.

    The state is the input of the convolution at the last taps - 1 positions.
    """

    inputs: Tensor

    def add_mixer(self, place: Place) -> None:
        c = place.config
        assert isinstance(c, Lfm2Config)
        self.taps = c.taps
        self.shortconv = ShortConv(c.width, c.taps)
        self.add_summary("inputs", c.taps - 1, c.width)

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        before, after, values = self.shortconv.in_proj(x).chunk(3, dim=-1)
        rows = torch.cat((self.summary("inputs", positions), before * values), dim=1)
        self.inputs.copy_(rows[:, 1 - self.taps :])
        if self.last_only:
            rows, after = rows[:, -self.taps :], after[:, -1:]
        # Ends that count from the back: the number of rows is the call's.
        weight = self.shortconv.conv.weight
        parts = [rows[:, k : k + 1 - self.taps or None] * weight[:, k] for k in range(self.taps)]
        mixed = sum(parts[1:], parts[0])
        output: Tensor = self.shortconv.out_proj(after * mixed)
        return output


class Lfm2(Family):
    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        if meta.integer("attention.sliding_window", 0, minimum=0):
            raise UnsupportedError(f"{meta.header.path}: {meta.architecture} with a sliding window is not supported")
        heads = meta.integers("attention.head_count_kv", base.layers)
        own: dict[str, Any] = {
            "attention": tuple(count > 0 for count in heads),
            "taps": meta.integer("shortconv.l_cache", minimum=2),
            "output_norm": "token_embd_norm",
        }
        return Lfm2Config(**(vars(base) | own))

    def kv_heads(self, meta: Metadata, layers: int, heads: int) -> int:
        """0 stands for a layer without attention."""
        counts = set(meta.integers("attention.head_count_kv", layers)) - {0}
        if len(counts) > 1:
            raise UnsupportedError(f"{meta.header.path}: layers with {sorted(counts)} key heads")
        if not counts:
            raise FormatError(f"{meta.header.path}: {meta.architecture} without any layer of attention")
        return counts.pop()

    def blocks(self, places: Sequence[Place]) -> list[Block]:
        return [_block(place) for place in places]


def _block(place: Place) -> Block:
    assert isinstance(place.config, Lfm2Config)
    return AttentionBlock(place) if place.config.attention[place.index] else ShortConvBlock(place)


FAMILY = Lfm2("lfm2", rope_mode=ROPE_NEOX, qk_norm=True)
