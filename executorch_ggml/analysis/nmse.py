"""The error of a result, as one number: the one definition that diff, tests and benchmarks share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["nmse", "relative_power"]


def nmse(got: Any, want: Any) -> float:
    """Normalised mean squared error: ``sum((got - want)^2) / sum(want^2)``, computed in float64.

    It is infinite where the number of elements differs, where an infinity is on one side only, and for any NaN. So a
    wrong result never looks small. Shapes are not compared.

    Args:
        got: an array or a tensor.
        want: the reference, likewise. If it is zero, the result is the mean squared error.
    """
    a, b = _doubles(got), _doubles(want)
    if a.size != b.size:
        return math.inf
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite]) or not np.isfinite(a[finite]).all():
        return math.inf
    return relative_power(a[finite] - b[finite], b[finite])


def relative_power(error: npt.NDArray[Any], want: npt.NDArray[Any]) -> float:
    """Squared error over squared norm, of finite numbers. If ``want`` is zero: the mean squared error."""
    power = float(np.sum(want * want))
    return float(np.sum(error * error)) / (power if power > 0 else max(want.size, 1))


def _doubles(values: Any) -> npt.NDArray[np.float64]:
    if hasattr(values, "detach"):  # a tensor; numpy knows no bfloat16
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, np.float64).reshape(-1)
