"""Cases out of torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.cuda.case_file import Array, Bound, Run


def array(t: torch.Tensor) -> Array:
    """numpy's view of it; bfloat16 as uint16."""
    t = t.detach().contiguous()
    if t.dtype is torch.bfloat16:
        return t.view(torch.uint16).numpy()
    found: Array = t.numpy()
    return found.copy()


def wanted(t: torch.Tensor) -> Array:
    """An output as `Program` gives it to callers without torch."""
    return array(t.float() if t.dtype is torch.bfloat16 else t)


def call(inputs: Sequence[Any], want: Sequence[torch.Tensor], bounds: Sequence[Bound]) -> Run:
    """One call; numbers among the inputs are not possible."""
    halves = [i for i, t in enumerate(inputs) if t.dtype is torch.bfloat16]
    return Run([array(t) for t in inputs], [wanted(t) for t in want], list(bounds), halves)


def relative(want: torch.Tensor, share: float) -> Bound:
    """A share of the largest finite element; integers and booleans must be equal."""
    if not want.dtype.is_floating_point:
        return Bound("equal")
    finite = want[want.isfinite()].abs()
    wider = max(1.0, torch.finfo(want.dtype).eps / torch.finfo(torch.float32).eps)
    return Bound("absolute", share * wider * (float(finite.max()) if finite.numel() else 0.0))
