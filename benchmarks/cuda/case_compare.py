"""Whether an output is what it should be. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cuda.case_file import Array, Bound
from executorch_ggml.analysis.nmse import relative_power

# How much wider than on the CPU the bounds of a case are. GPUs sum in another order and use fast exponentials, which
# F32 bounds cover already.
FACTOR = {"cpu": 1.0, "cuda": 1.0}


@dataclass(frozen=True)
class Difference:
    """``nmse``: squared error over squared norm. ``share``: of the bound. ``problem``: empty when within it."""

    nmse: float
    problem: str = ""
    share: float = 0.0


def compare(got: Array, want: Array, bound: Bound, device: str) -> Difference:
    """NaN and infinities must agree. What is wrong is said with the first element that is."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return Difference(np.inf, f"{got.dtype} {got.shape} instead of {want.dtype} {want.shape}")
    if not np.issubdtype(want.dtype, np.floating):
        wrong = got != want
        text = f"{int(wrong.sum())} of {want.size} elements differ{example(got, want, wrong)}" if wrong.any() else ""
        return Difference(float(wrong.sum()), text)
    a, b = got.astype(np.float64), want.astype(np.float64)
    special = ~np.isfinite(a) | ~np.isfinite(b)
    wrong = special & (a != b) & ~(np.isnan(a) & np.isnan(b))
    if wrong.any():
        return Difference(np.inf, f"{specials(a, b, wrong)}{example(got, want, wrong)}")
    both = ~special
    if not both.any():
        return Difference(0.0)
    distance = np.where(both, np.abs(np.where(both, a, 0) - np.where(both, b, 0)), 0)
    nmse = relative_power(distance[both], b[both])
    error = nmse if bound.kind == "nmse" else float(distance.max())
    allowed = 0.0 if bound.kind == "equal" else bound.value * FACTOR.get(device.split(":")[0], 1.0)
    if error <= allowed:
        return Difference(nmse, share=error / allowed if allowed > 0 else 0.0)
    worst = distance == distance.max()
    return Difference(nmse, f"{bound.kind} {error:.3g}, allowed {allowed:.3g}{example(got, want, worst)}", np.inf)


def specials(got: Array, want: Array, wrong: Array) -> str:
    """How many elements are NaN or infinite on one side alone, or differ in which."""
    counts = {
        "NaN too many": np.isnan(got) & ~np.isnan(want),
        "NaN missing": np.isnan(want) & ~np.isnan(got),
        "infinite too many": np.isinf(got) & np.isfinite(want),
        "infinite missing": np.isinf(want) & np.isfinite(got),
        "infinite with the other sign": np.isinf(want) & np.isinf(got) & wrong,
    }
    found = ", ".join(f"{int(mask.sum())} {name}" for name, mask in counts.items() if mask.any())
    return f"{found} (of {want.size})"


def example(got: Array, want: Array, which: Array) -> str:
    """The first of the elements that are wrong."""
    index = tuple(int(i) for i in np.argwhere(which)[0])
    return f"; at {list(index)} {got[index]} instead of {want[index]}"
