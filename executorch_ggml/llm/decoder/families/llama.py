"""Llama 1 to 3.2, with the Mistral and Mixtral checkpoints. No sliding window is recorded for these."""

from __future__ import annotations

from executorch_ggml.llm.decoder.config import ROPE_NORM
from executorch_ggml.llm.decoder.family import Family

FAMILY = Family("llama", rope_mode=ROPE_NORM, mixture=True)
