"""Test values: infinities, NaN and zeros. Registers no operator."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Case

_INF = float("inf")


def on_special_values(fn: object) -> Case:
    """On infinities, NaN and both zeros."""
    values = torch.tensor([_INF, -_INF, float("nan"), 0.0, -0.0, 1e-45, -2.5, 3e38])

    def run(x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = fn(x * 0.0 + values)  # type: ignore[operator]
        return found

    return Case(run, [(3, 8)], name="odd")
