"""Phi 3 to 4. The file's sliding window is honoured, as in transformers; llama.cpp ignores it."""

from __future__ import annotations

from dataclasses import replace

from executorch_ggml.llm.decoder.config import ROPE_NEOX, ModelConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.metadata import Metadata


class Phi3(Family):
    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        return replace(base, window=(meta.integer("attention.sliding_window", 0, minimum=0),) * base.layers)


FAMILY = Phi3("phi3", rope_mode=ROPE_NEOX)
