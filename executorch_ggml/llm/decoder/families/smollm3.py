"""SmolLM 3: every fourth layer has no rotation."""

from __future__ import annotations

from dataclasses import replace

from executorch_ggml.llm.decoder.config import ROPE_NORM, ModelConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.metadata import Metadata

_PERIOD = 4


class SmolLm3(Family):
    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        return replace(base, rope=tuple(None if i % _PERIOD == _PERIOD - 1 else r for i, r in enumerate(base.rope)))


FAMILY = SmolLm3("smollm3", rope_mode=ROPE_NORM)
