"""Tensors without dimensions count less than others in the type that a result is computed in, as in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
COMPARE: dict[str, Function] = {
    name: getattr(torch, name) for name in ("eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum", "max", "min")
} | {
    "reversed": lambda x, y: y < x,
    "where": lambda x, y: torch.where(x > 1, x, y),
    "clamp": lambda x, y: torch.clamp(x, min=y),
    "clamp to a number": lambda x, y: torch.clamp(x, max=y),
    "sum": torch.add,
    "product": torch.mul,
    "remainder": torch.remainder,
    "fmod": torch.fmod,
}
BITS: dict[str, Function] = {
    "and": torch.bitwise_and,
    "or": lambda x, y: x | y,
    "xor": lambda x, y: y ^ x,
    "quotient": lambda x, y: x // y,
    "truncated": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
}
SOME = (0, 1, 3, 7, 100, 253, 255)
CASES = [
    (torch.tensor(SOME, dtype=torch.uint8), torch.tensor(-3, dtype=torch.int32), COMPARE | BITS),
    (torch.tensor(SOME, dtype=torch.uint8), torch.tensor(256 + 7), COMPARE | BITS),
    (torch.tensor(SOME).to(torch.int8), torch.tensor(511), COMPARE | BITS),
    (torch.tensor(SOME).to(torch.int16), torch.tensor(65536 + 3, dtype=torch.int32), COMPARE | BITS),
    (torch.tensor(SOME, dtype=torch.int32), torch.tensor(2**32 + 7), COMPARE | BITS),
    (torch.tensor([0.1, 0.3, 1.7, -2.5]), torch.tensor(0.1, dtype=torch.float64), COMPARE),
    (torch.tensor([0.1, 0.3, 1.7, -2.5], dtype=torch.float16), torch.tensor(0.1), COMPARE),
    (torch.tensor([0.1, 0.3, 1.7, -2.5], dtype=torch.bfloat16), torch.tensor(0.1), COMPARE),
    (torch.tensor([0, 3, -7, 9]), torch.tensor(0.1, dtype=torch.float64), COMPARE),
]


class All(torch.nn.Module):
    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = list(functions.values())

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [f(x, y) for f in self.functions]


@pytest.mark.parametrize("rewrites", [True, False])
@pytest.mark.parametrize(("x", "y", "functions"), CASES, ids=[f"{x.dtype} {y.dtype} {y}" for x, y, _ in CASES])
def test_the_types_of_operands(
    x: torch.Tensor, y: torch.Tensor, functions: dict[str, Function], rewrites: bool, tmp_path: Path
) -> None:
    model, path = All(functions), tmp_path / "m.pte"
    lowered = to_edge_rewrite_and_lower(export(model, (x, y)), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    path.write_bytes(lowered.to_executorch().buffer)
    rtol = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(x.dtype, 1e-6 if y.is_floating_point() else 0)
    with Program(path, threads=1) as program:
        wrong = [
            f"{name}: {got} instead of {want}"
            for name, got, want in zip(functions, program(x, y), model(x, y), strict=True)
            if got.dtype is not want.dtype or not torch.allclose(got.double(), want.double(), rtol=rtol, atol=1e-7)
        ]
    assert not wrong, "\n".join(wrong)
