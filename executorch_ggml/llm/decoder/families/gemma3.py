"""Gemma 3: five layers with a sliding window to each layer without one, and norms on both sides of a residual step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from executorch_ggml.llm.decoder.attention import AttentionBlock
from executorch_ggml.llm.decoder.block import Block, Place
from executorch_ggml.llm.decoder.config import ROPE_NEOX, ModelConfig, RopeConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.layers import Norm
from executorch_ggml.llm.decoder.metadata import Metadata

_PERIOD = 6
_LOCAL_ROPE_BASE = 10000.0
_LAYERS_OF_27B = 62


class Gemma3Block(AttentionBlock):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.post_attention_norm = Norm(self.config.width, self.config.eps)
        self.post_ffw_norm = Norm(self.config.width, self.config.eps)

    def mix(self, x: Tensor, positions: Tensor, factors: Tensor | None) -> Tensor:
        mixed: Tensor = self.post_attention_norm(super().mix(x, positions, factors))
        return mixed

    def activate(self, gate: Tensor, up: Tensor) -> Tensor:
        return F.gelu(gate, approximate="tanh") * up

    def feed(self, x: Tensor) -> Tensor:
        fed: Tensor = self.post_ffw_norm(super().feed(x))
        return fed


class Gemma3(Family):
    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        window = _windows(meta, base.layers)
        full = base.rope[0]
        assert full is not None
        swa = meta.number("rope.freq_base_swa", _LOCAL_ROPE_BASE) if any(window) else _LOCAL_ROPE_BASE
        local = RopeConfig(full.mode, full.dims, swa)
        return replace(
            base,
            window=window,
            rope=tuple(local if size else full for size in window),
            embedding_scale=math.sqrt(base.width),
            logit_softcap=meta.number("final_logit_softcapping", 0.0, positive=False),
        )

    def scale_dim(self, layers: int, width_a_head: int, head_dim: int) -> int:
        return width_a_head if layers == _LAYERS_OF_27B else head_dim

    def blocks(self, places: Sequence[Place]) -> list[Block]:
        return [Gemma3Block(place) for place in places]


def _windows(meta: Metadata, layers: int) -> tuple[int, ...]:
    """The sliding window of each layer. With a period p, every p-th layer sees everything."""
    window = meta.integer("attention.sliding_window", 0, minimum=0)
    if window == 0:
        return (0,) * layers
    pattern = meta.flags("attention.sliding_window_pattern", layers)
    if not isinstance(pattern, tuple):
        period = _PERIOD if pattern is None else pattern
        pattern = tuple(period > 0 and i % period < period - 1 for i in range(layers))
    return tuple(window if local else 0 for local in pattern)


FAMILY = Gemma3("gemma3", rope_mode=ROPE_NEOX, qk_norm=True)
