"""compare(): what counts as an error, and what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from executorch_ggml.analysis.diff import Tolerance, compare, tolerance_for

LIMITS = Tolerance(1e-6, 1e-2)


def test_numbers() -> None:
    errors = compare([1.0, 2.0, 2.0], [1.0, 2.0, 4.0], LIMITS)
    assert errors.nmse == pytest.approx(4 / 21)
    assert (errors.max_abs, errors.peak, errors.wrong, errors.within) == (2.0, 0.5, 1, False)
    assert compare([1.0, 2.0], [1.0, 2.0], LIMITS).within


def test_one_wrong_element_among_many() -> None:
    want = np.ones(1_000_000)
    got = want.copy()
    got[5] += 0.5
    errors = compare(got, want, LIMITS)
    assert errors.nmse < LIMITS.nmse
    assert (errors.wrong, errors.within) == (1, False)


def test_rounding_of_large_operands_is_no_error() -> None:
    want, got = np.zeros(4), np.full(4, 1e-6)
    assert not compare(got, want, Tolerance(1e-13, 1e-13)).within
    # 100.0 - 100.0, where float32 has steps of 7.6e-6
    assert compare(got, want, Tolerance(1e-13, 1e-13), scale=100.0).within
    assert not compare(got * 1000, want, Tolerance(1e-13, 1e-13), scale=100.0).within
    assert compare(got, want, LIMITS, scale=100.0).max_abs == 1e-6  # it is shown all the same


def test_what_is_not_a_number() -> None:
    inf, nan = math.inf, math.nan
    assert compare([nan, -inf, 1.0], [nan, -inf, 1.0], LIMITS).within
    assert compare([-inf, 1.0], [-3.4e38, 1.0], LIMITS).within
    assert not compare([inf, 1.0], [-3.4e38, 1.0], LIMITS).within
    for bad in (nan, inf):
        errors = compare([bad, 1.0], [2.0, 1.0], LIMITS)
        assert (errors.nmse, errors.wrong, errors.within) == (inf, 1, False)


def test_integers_are_exact() -> None:
    big = 2**24 + 1
    assert compare([big, 1], np.array([big, 1]), LIMITS).within
    errors = compare([float(big - 1), 1.0], np.array([big, 1]), LIMITS)
    assert (errors.wrong, errors.max_abs, errors.within) == (1, 1.0, False)
    assert compare([1.0, 0.0], np.array([True, False]), LIMITS).within
    assert not compare([1.0, 1.0], np.array([True, False]), LIMITS).within


def test_sizes() -> None:
    assert compare([], [], LIMITS).within
    with pytest.raises(ValueError, match="3 elements, the reference has 2"):
        compare([1, 2, 3], [1, 2], LIMITS)


def test_defaults_follow_the_types() -> None:
    exact = tolerance_for(["float32", "int64"], ["F32", "ANY"])
    assert exact == Tolerance(1e-8, 1e-3)
    order = [
        exact,
        tolerance_for(["float32"], ["F16"]),
        tolerance_for(["float16"]),
        tolerance_for(["float32"], ["BF16"]),
        tolerance_for(["float32"], ["Q8_0", "F16"]),
    ]
    assert [t.nmse for t in order] == sorted(t.nmse for t in order)
    assert tolerance_for(["bfloat16"], ["Q4_K"]).nmse == order[-1].nmse
