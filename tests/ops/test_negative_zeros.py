"""-0.0 as a number of a program: FlatBuffers leaves it out, since it equals the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

ZERO = -0.0
VALUES = torch.tensor([-3.0, -1.0, -2.0, 3.0, 1.0, 0.5, -0.5, 0.0])
FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "pow": lambda x: torch.pow(ZERO, x),
    "pow of a scalar": lambda x: torch.pow(torch.tensor(ZERO), x),
    "pow of integers": lambda x: torch.pow(ZERO, x.long()),
    "divided by": lambda x: x / ZERO,
    "reciprocal": lambda x: x + 1 / torch.full((8,), ZERO),
    "full": lambda x: torch.full((8,), ZERO),
    "full of a size": lambda x: torch.full((x.shape[0],), ZERO) * (x + 4),
    "full_like": lambda x: torch.full_like(x, ZERO) * (x + 4),
    "new_full": lambda x: x.new_full((8,), ZERO) * (x + 4),
    "fill": lambda x: torch.fill(x, ZERO) * (x + 4),
    "scalar_tensor": lambda x: torch.scalar_tensor(ZERO) * (x + 4),
    "times": lambda x: x * ZERO,
    "times of a scalar": lambda x: torch.mul(x, torch.tensor(ZERO)),
    "float64": lambda x: torch.full((8,), ZERO, dtype=torch.float64) * (x + 4),
    "float16": lambda x: torch.full((8,), ZERO, dtype=torch.float16) * (x + 4).half(),
}


class All(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in FUNCTIONS.values()]


def same(got: torch.Tensor, want: torch.Tensor) -> bool:
    shown = ~want.isnan()
    equal = torch.equal(got.isnan(), want.isnan()) and torch.equal(got[shown], want[shown])
    return equal and torch.equal(got.signbit()[shown], want.signbit()[shown])


@pytest.mark.parametrize("rewrites", [True, False])
def test_the_sign_of_a_zero_is_kept(rewrites: bool, tmp_path: Path) -> None:
    model, path = All(), tmp_path / "m.pte"
    lowered = to_edge_rewrite_and_lower(export(model, (VALUES,)), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    path.write_bytes(lowered.to_executorch().buffer)
    with Program(path, threads=1) as program:
        results = zip(FUNCTIONS, program(VALUES), model(VALUES), strict=True)
        wrong = [f"{name}: {got} instead of {want}" for name, got, want in results if not same(got, want)]
    assert not wrong, "\n".join(wrong)
