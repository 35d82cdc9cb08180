"""Whether an output is what it should be. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cuda.case_file import Array, Bound

# How much wider than on the CPU the bounds of a case are. GPUs sum in another order and use fast exponentials, which
# F32 bounds cover already.
FACTOR = {"cpu": 1.0, "cuda": 1.0}


@dataclass(frozen=True)
class Difference:
    """``nmse``: squared error over squared norm. ``problem``: empty when within the bound."""

    nmse: float
    problem: str = ""


def compare(got: Array, want: Array, bound: Bound, device: str) -> Difference:
    """NaN and infinities must agree."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return Difference(np.inf, f"{got.dtype} {got.shape} instead of {want.dtype} {want.shape}")
    if not np.issubdtype(want.dtype, np.floating):
        wrong = int((got != want).sum())
        return Difference(float(wrong), f"{wrong} of {want.size} elements differ" if wrong else "")
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    finite = np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(a[finite]).all():
        return Difference(np.inf, "NaN or infinity where it should not be, or none where it should")
    a, b = a[finite], b[finite]
    if not b.size:
        return Difference(0.0)
    square = float(((a - b) ** 2).mean())
    power = float((b**2).mean())
    nmse = square / power if power > 0 else square
    error = nmse if bound.kind == "nmse" else float(np.abs(a - b).max())
    allowed = 0.0 if bound.kind == "equal" else bound.value * FACTOR.get(device.split(":")[0], 1.0)
    if error <= allowed:
        return Difference(nmse)
    return Difference(nmse, f"{bound.kind} {error:.3g}, allowed {allowed:.3g}")
