"""Log-probabilities of chosen tokens, from the model's own logits: before penalties, filters and temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["TokenLogprob", "token_logprob"]


@dataclass(frozen=True)
class TokenLogprob:
    """One chosen token, its log-probability (natural), and the most likely tokens with theirs, in falling order."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def token_logprob(logits: npt.NDArray[np.float32], token: int, top: int) -> TokenLogprob:
    """Of logits [vocab]. Ties in `top` are in the order of ids."""
    values = logits.astype(np.float64)
    values -= values.max()
    values -= np.log(np.exp(values).sum())
    best = np.argsort(-values, kind="stable")[:top] if top else ()
    return TokenLogprob(token, float(values[token]), tuple((int(i), float(values[i])) for i in best))
