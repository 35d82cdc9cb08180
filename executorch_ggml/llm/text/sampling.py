"""Sampling options, checked where they are given, and the native sampler on its own."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.runtime import _load

from .token_ids import token_ids

_LEAST_TOP_P = 1e-9  # of the library's sampler; the first token always has more


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Applied in the order of llama.cpp's tools: repetition penalty, top-k, top-p, min-p, temperature. The exact rules are
    in ``csrc/text/sampler.h``.

    Attributes:
        temperature: 0 takes the most likely token (the lowest id on a tie); then only the penalty has an effect.
        top_k: keep the k most likely, 0 = all.
        top_p: keep the fewest whose probability sums to p, 1 = all, 0 = one.
        min_p: drop those less likely than this fraction of the most likely, 0 = none.
        repeat_penalty: divides (multiplies, when negative) the logits of the last ``repeat_last_n`` tokens, 1 = off.
        repeat_last_n: tokens that the penalty looks at, -1 = the whole sequence.
        seed: same tokens for the same seed on any machine; 0 = a new one each time.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, field.name, value.item())
            elif isinstance(value, float) and not math.isfinite(value):
                raise InvalidArgumentError(f"option {field.name!r} must be a finite number, not {value}")

    def options(self, **more: Any) -> bytes:
        """JSON for the C interface."""
        given = {**asdict(self), **more}
        if given["top_p"] == 0:
            given["top_p"] = _LEAST_TOP_P
        encoded = _load.options_json(given)
        assert encoded is not None
        return encoded


def sample(logits: npt.ArrayLike, history: Sequence[int] = (), sampling: Sampling | None = None, **options: Any) -> int:
    """One draw from logits [vocab]; ``history``: the tokens so far, for the repetition penalty (others are ignored).

    ``options`` are the fields of `Sampling`. Raises InvalidArgumentError for bad options and shapes,
    ValueRangeError for logits with NaN or +infinity, or without a finite one.
    """
    if sampling is not None and options:
        raise InvalidArgumentError("give either sampling or single options, not both")
    sampling = sampling or Sampling(**options)
    values = np.ascontiguousarray(logits, dtype=np.float32)
    if values.ndim != 1:
        raise InvalidArgumentError(f"logits must have one dimension, not shape {values.shape}")
    past = np.asarray(token_ids(history, "history", -(1 << 31)), dtype=np.int32)
    token = ctypes.c_int32()
    _load.check(
        _load.library().etggml_sample(
            values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            values.size,
            past.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            past.size,
            sampling.options(),
            ctypes.byref(token),
        )
    )
    return token.value
