"""Functions of one number that numpy lacks, for the interpreter: in double, NaN and poles as torch has them."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

_NORMAL = NormalDist()


def _erfinv(y: float) -> float:
    if math.isnan(y) or abs(y) > 1.0:
        return math.nan
    if abs(y) == 1.0:
        return math.copysign(math.inf, y)
    # The quantile of the lower tail keeps the digits of its argument; a step of Newton's those of small numbers.
    x = -_NORMAL.inv_cdf((1.0 - abs(y)) / 2.0) / math.sqrt(2.0)
    error = math.erf(x) - abs(y) if abs(y) < 0.5 else (1.0 - abs(y)) - math.erfc(x)
    return math.copysign(x - error / (2.0 / math.sqrt(math.pi) * math.exp(-x * x)), y)


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # a pole, a large number
        return math.inf


def _digamma(x: float) -> float:
    if math.isnan(x) or x == math.inf:
        return x
    if x == 0.0:
        return math.copysign(math.inf, -x)
    if x == -math.inf or (x < 0.0 and x == math.floor(x)):
        return math.nan
    if x < 0.0:
        return _digamma(1.0 - x) - math.pi / math.tan(math.pi * math.fmod(x, 1.0))
    below = 0.0
    while x < 30.0:
        below += 1.0 / x
        x += 1.0
    square = 1.0 / (x * x)
    return math.log(x) - 0.5 / x - square * (1 / 12 - square * (1 / 120 - square / 252)) - below


def _of_array(function: Any) -> Any:
    return np.vectorize(function, otypes=[np.float64])


erfinv, lgamma, digamma = _of_array(_erfinv), _of_array(_lgamma), _of_array(_digamma)
