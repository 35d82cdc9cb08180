"""Resizing by a ratio of small integers, for any size: the computation repeats itself. Registers no operator.

A dimension grows from ``q m`` to ``p m``. Its results ``j``, ``p + j``, ``2 p + j``, ... have the same place between
source pixels that are ``q`` apart. So they are a mean of a few slices with step ``q``. The ``p`` groups of results are
then interleaved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from executorch_ggml.ir.builder import Builder, Dim, Unsupported, Value
from executorch_ggml.ir.dims import divide, product, same, simplify

from . import _axis

# Results that a source pixel becomes; more take more nodes than the host takes time.
_MOST_PHASES = 16


_CHECKED = 1 << 16
"""Result pixels for which torch's rounding of positions is tried."""


# For one result: source positions relative to the period's first, and their weights.
Taps = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Period:
    """``results`` pixels come of ``sources`` pixels, ``count`` times; of the last time some may be left out."""

    results: int
    sources: int
    count: Dim
    out: Dim

    def position(self, phase: int) -> Fraction:
        """Where the centre of a result lies, in source pixels from the centre of the period's first."""
        return (Fraction(2 * phase + 1, 2) * self.sources / self.results) - Fraction(1, 2)


def period(size: Dim, out: Dim, factor: float | None) -> Period:
    """How a dimension of ``size`` becomes one of ``out``; ``factor``: the one that the user gave, if any.

    Raises:
        Unsupported: the ratio is not one of small integers for every value of the symbols.
    """
    import sympy

    reason = f"resizing from {size} to {out} depends on a dynamic dimension"
    ratio = sympy.cancel(sympy.sympify(out) / size)
    if ratio.is_Rational:
        p, q = int(ratio.p), int(ratio.q)
    elif factor is not None:
        exact = Fraction(factor)
        p, q = exact.numerator, exact.denominator
        if not same(simplify(sympy.floor(sympy.sympify(size) * p / sympy.Integer(q))), out):
            raise Unsupported(reason)
    else:
        raise Unsupported(reason)
    if p > _MOST_PHASES:
        raise Unsupported(reason)
    if factor is not None and np.float32(1.0 / factor) != np.float32(q / p):
        raise Unsupported(f"{reason}, and the factor {factor} is not {p}/{q}")
    count = divide(out, p)
    return Period(p, q, simplify(sympy.floor((out + p - 1) / sympy.Integer(p))) if count is None else count, out)


def nearest(b: Builder, x: Value, dim: int, how: Period, offset: float) -> Value:
    """The source pixel at floor((index + offset) * ratio)."""
    index = np.arange(_CHECKED, dtype=np.float32)
    ratio = np.float32(how.sources / how.results)
    rounded = np.floor((index + np.float32(offset)) * ratio).astype(np.int64)
    phases = [math.floor((j + Fraction(offset)) * how.sources / how.results) for j in range(how.results)]
    whole, phase = np.divmod(np.arange(_CHECKED), how.results)
    if not np.array_equal(rounded, whole * how.sources + np.array(phases)[phase]):
        raise Unsupported(f"torch rounds positions at a ratio of {how.sources}/{how.results} unevenly")
    if how.sources == 1:
        return _repeated(b, x, dim, how)
    return _interleaved(b, x, dim, how, [[(p, 1.0)] for p in phases])


def linear(b: Builder, x: Value, dim: int, how: Period) -> Value:
    """Between the two nearest source pixels."""

    def taps(position: Fraction) -> Taps:
        before = math.floor(position)
        share = float(position - before)
        return [(before, 1 - share), (before + 1, share)] if share else [(before, 1.0)]

    return _interleaved(b, x, dim, how, [taps(how.position(j)) for j in range(how.results)])


def cubic(b: Builder, x: Value, dim: int, how: Period, weights: Callable[[float], Sequence[float]]) -> Value:
    """Of the four nearest source pixels; ``weights`` of a distance from the second of them."""

    def taps(position: Fraction) -> Taps:
        before = math.floor(position)
        return [(before + i - 1, w) for i, w in enumerate(weights(float(position - before)))]

    return _interleaved(b, x, dim, how, [taps(how.position(j)) for j in range(how.results)])


def _repeated(b: Builder, x: Value, dim: int, how: Period) -> Value:
    if how.results == 1:
        return x
    before, n, after = _axis.as_three(b, x, dim).shape
    repeated = b.expand(b.reshape(b.contiguous(x), (before, n, 1, after)), (before, n, how.results, after))
    return b.reshape(repeated, (*x.shape[:dim], simplify(n * how.results), *x.shape[dim + 1 :]))


def _interleaved(b: Builder, x: Value, dim: int, how: Period, phases: Sequence[Taps]) -> Value:
    rows = _axis.as_three(b, x, dim)
    before, _, after = rows.shape
    lowest = min(p for taps in phases for p, _ in taps)
    highest = max(p for taps in phases for p, _ in taps)
    # Beyond its ends the signal goes on with its first and last pixel. The last period begins inside.
    front, back = max(0, -lowest), max(0, highest)
    rows = _axis.edges(b, rows, 1, front, back)
    parts = []
    for taps in phases:
        total: Value | None = None
        for position, weight in taps:
            part = b.slice(rows, 1, front + position, how.count, how.sources)
            part = b.scale(part, weight)
            total = part if total is None else b.add(total, part)
        assert total is not None
        parts.append(b.reshape(b.contiguous(total), (before, how.count, 1, after)))
    joined = b.contiguous(_axis.concat(b, parts, 2))
    joined = b.reshape(joined, (before, product((how.count, how.results)), after))
    joined = b.contiguous(b.slice(joined, 1, 0, how.out))
    return b.reshape(joined, (*x.shape[:dim], how.out, *x.shape[dim + 1 :]))
