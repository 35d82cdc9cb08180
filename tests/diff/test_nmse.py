"""nmse(): the numbers, values that must never look small, and that nobody writes a second one."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from executorch_ggml.analysis.nmse import nmse

pytestmark = pytest.mark.quick

ROOT = Path(__file__).resolve().parents[2]
_DEFINITION = re.compile(
    r"def \w*(nmse|normalised_error)\w*\("  # under its name
    r"|\*\* ?2\)+\.(sum|mean)\(\)[ )]*/ *\(*\w+(\[\w+\])? ?\*\* ?2\)*\.(sum|mean)"  # or spelled out
)


def test_numbers() -> None:
    assert nmse([1.0, 2.0, 2.0], [1.0, 2.0, 4.0]) == pytest.approx(4 / 21)
    assert nmse(np.float32([3, 4]), np.float32([3, 4])) == 0
    assert nmse([0.5, 0.0], [0.0, 0.0]) == 0.125  # nothing to relate it to: the mean squared error
    assert nmse([], []) == 0


def test_tensors() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert nmse(x * 2, x) == pytest.approx(1.0)
    assert nmse(torch.tensor([1.5], dtype=torch.bfloat16), [1.0]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    "got, want",
    [
        ([1.0, math.nan], [1.0, 2.0]),
        ([1.0, math.nan], [1.0, math.nan]),
        ([1.0, 2.0], [1.0, math.nan]),
        ([1.0, math.inf], [1.0, 2.0]),
        ([1.0, -math.inf], [1.0, math.inf]),
        ([1.0], [1.0, 1.0]),
        (np.zeros((3, 1)), np.zeros((3, 3))),
    ],
)
def test_never_small(got: object, want: object) -> None:
    assert nmse(got, want) == math.inf


def test_infinities_that_agree() -> None:
    assert nmse([math.inf, 1.0], [math.inf, 2.0]) == 0.25


def test_one_definition() -> None:
    sources = [path for top in ("benchmarks", "executorch_ggml", "tests") for path in (ROOT / top).rglob("*.py")]
    sources.remove(Path(__file__).resolve())
    found = [f"{p.relative_to(ROOT)}: {m[0]}" for p in sources if (m := _DEFINITION.search(p.read_text("utf-8")))]
    assert found == ["executorch_ggml/analysis/nmse.py: def nmse("]
    headers = [p.name for p in (ROOT / "tests/cpp").iterdir() if re.search(r"double \w*nmse\(", p.read_text("utf-8"))]
    assert headers == ["nmse.h"]
