"""What the tests of this folder share besides fixtures."""

from __future__ import annotations

import numpy as np

MAX_SEQ_LEN = 96


def prompt(length: int) -> np.ndarray:
    """Token ids [1, length] with 1..5 first: small ids must not be taken for positions or the like."""
    rest = np.random.default_rng(7).integers(0, 512, max(0, length - 5))
    return np.concatenate((np.arange(1, 6), rest))[:length].astype(np.int64)[None]
