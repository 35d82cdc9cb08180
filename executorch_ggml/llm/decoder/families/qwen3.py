"""Qwen 3."""

from __future__ import annotations

from executorch_ggml.llm.decoder.config import ROPE_NEOX
from executorch_ggml.llm.decoder.family import Family

FAMILY = Family("qwen3", rope_mode=ROPE_NEOX, qk_norm=True)
