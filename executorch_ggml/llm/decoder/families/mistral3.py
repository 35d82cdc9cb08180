"""Ministral 3 and Mistral Small 3.2: Llama with YaRN, and with attention that sharpens at distant positions."""

from __future__ import annotations

from executorch_ggml.errors import UnsupportedError
from executorch_ggml.llm.decoder.config import ROPE_NORM, ModelConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.metadata import Metadata


class Mistral3(Family):
    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        # A query at position p is multiplied by 1 + s ln(1 + floor(p / original)), which is 1 below `original`.
        if meta.number("attention.temperature_scale", 0.0, positive=False) != 0.0:
            original = meta.integer("rope.scaling.original_context_length")
            if max_seq_len > original:
                raise UnsupportedError(
                    f"{meta.header.path}: {meta.architecture}.attention.temperature_scale changes attention beyond "
                    f"position {original}; export with max_seq_len <= {original} (got {max_seq_len})"
                )
        return base


FAMILY = Mistral3("mistral3", rope_mode=ROPE_NORM)
