"""How to sample when nobody says: as the GGUF recommends (``general.sampling.*``), else by common values.

`Sampling` itself stays greedy, so that programs get the same tokens every time. The command line uses this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from executorch_ggml.errors import FormatError

from .metadata import describe
from .sampling import Sampling

__all__ = ["COMMON", "default_sampling"]

COMMON = Sampling(temperature=0.7, top_k=40, top_p=0.95, min_p=0.05)
"""The filters are the defaults of llama.cpp's tools. Its temperature is 0.8; 0.7 is the value that most published
models recommend for chat (Qwen 2.5 and 3, Mistral, SmolLM)."""

# Key of the GGUF specification, field of Sampling, the least and the greatest value.
_KEYS: tuple[tuple[str, str, type, float, float], ...] = (
    ("temp", "temperature", float, 0, math.inf),
    ("top_k", "top_k", int, 0, (1 << 31) - 1),
    ("top_p", "top_p", float, 0, 1),
    ("min_p", "min_p", float, 0, 1),
    ("penalty_repeat", "repeat_penalty", float, 1e-6, math.inf),
    ("penalty_last_n", "repeat_last_n", int, -1, (1 << 31) - 1),
)


def default_sampling(metadata: Mapping[str, Any]) -> Sampling:
    """The file's values, and `COMMON` for those that it does not have.

    Raises FormatError for a value that is no number, or out of range.
    """
    found: dict[str, Any] = {}
    for name, field, kind, least, greatest in _KEYS:
        key = f"general.sampling.{name}"
        value = metadata.get(key)
        if value is None:
            continue
        value = value.item() if hasattr(value, "item") else value
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (kind is int and value != int(value)) or not least <= value <= greatest:
            raise FormatError(f"{key} is {describe(value)}; expected a number in {least:g}..{greatest:g}")
        found[field] = kind(value)
    return replace(COMMON, **found)
