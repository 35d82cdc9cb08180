"""Powers over the whole range of bases and exponents, given and computed, with torch's results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.reference import delegates

pytestmark = pytest.mark.filterwarnings("ignore")

INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 1.7, -1.7, INF, -INF, NAN, 1e-38, 3e38, -3e38, 100, -101, 0.3]
EXPONENTS = [0, 1, -1, 2, -2, 3, -3, 5, -5, 8, 9, -9, 16, 31, -31, 63, -63, 64, -64, 65, 0.5, -0.5, 1.5, -2.5, INF, NAN]
Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def functions() -> dict[str, Function]:
    found: dict[str, Function] = {
        "tensors": lambda x, y: x**y,
        "computed": lambda x, y: (x * 1.0) ** (y + 0.0),
        "whole exponents": lambda x, y: (x + 0.0) ** torch.round(y),
        "float_power": lambda x, y: torch.float_power(x, y).float(),
        "integer exponents": lambda x, y: x ** torch.nan_to_num(y.clamp(-8, 8)).long(),
        "integer bases": lambda x, y: torch.nan_to_num(x.clamp(-8, 8)).long() ** y,
    }
    for c in (0, 1, -1, 2.0, -2.0, 0.5, -0.5, 10, INF, -INF, NAN, 1e-30, -0.3):
        found[f"of {c}"] = lambda x, y, c=c: c**y
        found[f"of a scalar {c}"] = lambda x, y, c=c: torch.tensor(float(c)) ** y
    for e in (
        0,
        1,
        -1,
        2,
        -2,
        3,
        -3,
        5,
        -5,
        8,
        9,
        -9,
        16,
        31,
        -31,
        63,
        -63,
        64,
        -64,
        65,
        0.5,
        -0.5,
        1.5,
        -2.5,
        INF,
        NAN,
    ):
        found[f"to {e}"] = lambda x, y, e=e: x**e
        found[f"to a scalar {e}"] = lambda x, y, e=e: x ** torch.tensor(float(e))
    return found


class All(torch.nn.Module):
    def __init__(self, chosen: dict[str, Function]) -> None:
        super().__init__()
        self.functions = list(chosen.values())

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [f(x, y) for f in self.functions]


def test_as_torch(tmp_path: Path) -> None:
    generator, special = torch.Generator().manual_seed(0), torch.tensor(SPECIAL)
    pairs = torch.stack([special.repeat_interleave(len(SPECIAL)), special.repeat(len(SPECIAL))])
    near = torch.randn(2, 512, generator=generator) * 5
    whole = torch.randint(-8, 9, (2, 256), generator=generator).float()
    x, y = torch.cat([pairs, near, whole], 1)
    chosen, path = functions(), tmp_path / "m.pte"
    model = All(chosen)
    edge = to_edge_rewrite_and_lower(export(model, (x, y)))
    assert delegates(edge.exported_program())
    path.write_bytes(edge.to_executorch().buffer)
    wrong = []
    with Program(path, threads=1) as program:
        for name, got, want in zip(chosen, program(x, y), model(x, y), strict=True):
            # A result below the smallest normal number has fewer digits.
            right = torch.isclose(got, want, rtol=1e-6, atol=torch.finfo(torch.float32).tiny, equal_nan=True)
            if got.dtype != want.dtype or not right.all():
                at = int((~right).nonzero()[0])
                wrong.append(f"{name}: {x[at]} and {y[at]} give {got[at]} instead of {want[at]}")
    assert not wrong, "\n".join(wrong)
