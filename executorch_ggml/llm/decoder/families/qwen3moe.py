"""Qwen 3 with a mixture of experts in every block."""

from __future__ import annotations

from executorch_ggml.errors import FormatError
from executorch_ggml.llm.decoder.config import ROPE_NEOX, ModelConfig
from executorch_ggml.llm.decoder.family import Family
from executorch_ggml.llm.decoder.metadata import Metadata


class Qwen3Moe(Family):
    def expert_ff(self, meta: Metadata, ff: int, used: int) -> int:
        # Without a width of one expert, feed_forward_length is that of all experts in use.
        return meta.integer("expert_feed_forward_length", ff // used or None)

    def config(self, meta: Metadata, max_seq_len: int) -> ModelConfig:
        base = super().config(meta, max_seq_len)
        if base.experts == 0:
            raise FormatError(f"{meta.header.path}: {meta.architecture}.expert_count must be above 0")
        return base


FAMILY = Qwen3Moe("qwen3moe", rope_mode=ROPE_NEOX, qk_norm=True, mixture=True)
