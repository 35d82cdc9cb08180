"""Two tensors that should be the same: how far they are apart, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.analysis.nmse import relative_power

# Rounding noise of a few operands is no error, however small the result (a difference of equal numbers).
_ROUNDINGS = 16.0
_HALF_MAX = 65504.0


@dataclass(frozen=True)
class Tolerance:
    """The allowed error of a value.

    Attributes:
        nmse: squared error over squared norm.
        peak: largest absolute error over the largest absolute value: a single wrong element hides from ``nmse``.
    """

    nmse: float
    peak: float

    def limited(self, nmse: float | None, peak: float | None) -> Tolerance:
        """The same with the given bounds."""
        return Tolerance(self.nmse if nmse is None else nmse, self.peak if peak is None else peak)


@dataclass(frozen=True)
class Errors:
    """How far a value is from its reference.

    Attributes:
        nmse: as in ``analysis.nmse``, of the elements that are finite and do not agree.
        max_abs: largest absolute difference.
        peak: ``max_abs`` over the largest absolute value of the reference.
        wrong: elements with a difference of their own over the tolerance; NaN and infinities that do not agree count.
        within: whether the tolerance holds.
    """

    nmse: float
    max_abs: float
    peak: float
    wrong: int
    within: bool


# By the source of rounding: torch's types in eager, and types of weights, which round activations too.
_TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(1e-8, 1e-3),
    "float16": Tolerance(1e-4, 5e-2),
    "bfloat16": Tolerance(1e-2, 2e-1),
    "F16": Tolerance(1e-5, 2e-2),
    "BF16": Tolerance(1e-3, 1e-1),
    "quantised": Tolerance(1e-2, 2.5e-1),
}
_EPSILON = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_EXACT = frozenset({"float32", "float64", "F32", "F64", "I32", "I64", "I16", "I8", "ANY"})


def tolerance_for(dtypes: Iterable[str], weights: Iterable[str] = ()) -> Tolerance:
    """The default for a program: the loosest of its compute types and the types of its weights.

    Args:
        dtypes: names of torch types ("float32", "bfloat16", ...).
        weights: names of ggml types ("F32", "F16", "Q8_0", ...). Products with a quantised matrix round the activations
            to 8 bits, with an F16 or BF16 matrix to that type.
    """
    found = [_TOLERANCES["float32"]]
    found += [_TOLERANCES[d] for d in dtypes if d in _TOLERANCES]
    found += [_TOLERANCES.get(w, _TOLERANCES["quantised"]) for w in weights if w not in _EXACT]
    return Tolerance(max(t.nmse for t in found), max(t.peak for t in found))


def compare(
    got: npt.ArrayLike,
    want: npt.ArrayLike,
    tolerance: Tolerance,
    *,
    scale: float = 0.0,
    dtype: str = "float32",
    strict: bool = False,
) -> Errors:
    """Errors of ``got`` (elements in the same order as ``want``; shapes are not looked at).

    Integers and booleans must agree exactly. NaN agrees with NaN, and an infinity with anything of its sign beyond the
    largest half: masks are written both ways.

    Args:
        scale: largest absolute value among the operands of ``want``. Differences that rounding such numbers explains do
            not count.
        dtype: torch type of the reference, which says how coarse that rounding is.
        strict: an infinity agrees with itself alone.

    Raises:
        ValueError: another number of elements.
    """
    a: npt.NDArray[Any] = np.asarray(got).reshape(-1)
    b: npt.NDArray[Any] = np.asarray(want).reshape(-1)
    if a.size != b.size:
        raise ValueError(f"{a.size} elements, the reference has {b.size}")
    exact = b.dtype.kind in "iub"
    a, b = a.astype(np.float64), b.astype(np.float64)
    if not a.size:
        return Errors(0.0, 0.0, 0.0, 0, True)
    agree = (a == b) | (np.isnan(a) & np.isnan(b))
    if not strict:
        agree |= _both_huge(a, b)
    if exact:
        wrong = int((~agree).sum())
        most = float(np.abs(a - b)[~agree].max()) if wrong else 0.0
        return Errors(wrong / a.size, most, most / max(float(np.abs(b).max()), 1.0), wrong, wrong == 0)
    comparable = np.isfinite(a) & np.isfinite(b)
    lost = int((~comparable & ~agree).sum())
    a, b, agree = a[comparable], b[comparable], agree[comparable]
    error = np.where(agree, 0.0, np.abs(a - b))
    noise = _ROUNDINGS * _EPSILON.get(dtype, 2.0**-24) * scale
    real = np.where(error <= noise, 0.0, error)
    wrong = lost + int((real > tolerance.peak * float(np.abs(b).max(initial=0.0))).sum())
    if lost:
        return Errors(math.inf, math.inf, math.inf, wrong, False)
    nmse, peak = _relative(real, b)
    within = nmse <= tolerance.nmse and peak <= tolerance.peak
    nmse, peak = _relative(error, b)
    return Errors(nmse, float(error.max(initial=0.0)), peak, wrong, within)


def _relative(error: npt.NDArray[Any], want: npt.NDArray[Any]) -> tuple[float, float]:
    most, top = float(error.max(initial=0.0)), float(np.abs(want).max(initial=0.0))
    return relative_power(error, want), most / top if top > 0 else most


def _both_huge(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    infinite = np.isinf(a) | np.isinf(b)
    huge = infinite & (np.abs(a) >= _HALF_MAX) & (np.abs(b) >= _HALF_MAX)
    return np.asarray(huge & (np.sign(a) == np.sign(b)), np.bool_)
