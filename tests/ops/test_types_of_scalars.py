"""Tensors without dimensions keep their type beside numbers, which ExecuTorch makes int64 or float32 tensors of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

Function = Callable[[torch.Tensor], torch.Tensor]
ANY: dict[str, Function] = {
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "rsub with a factor": lambda x: torch.rsub(x, 1, alpha=2),
    "add with a factor": lambda x: torch.add(x, 1, alpha=2),
    "2 * x": lambda x: 2 * x,
    "x // 2": lambda x: x // 2,
    "7 // x": lambda x: 7 // x,
    "truncated": lambda x: torch.div(x, 2, rounding_mode="trunc"),
    "x % 3": lambda x: x % 3,
    "7 % x": lambda x: 7 % x,
    "fmod": lambda x: torch.fmod(x, 3),
    "x ** 2": lambda x: x**2,
    "clamp": lambda x: torch.clamp(x, 1, 2),
    "where": lambda x: torch.where(x > 1, x, 1),
    "where of a number": lambda x: torch.where(x > 1, 1, x),
    "masked_fill": lambda x: x.masked_fill(x > 1, 1),
    "addcmul": lambda x: torch.addcmul(x, x, x, value=2),
    "of a sign": lambda x: 1 - torch.sign(x),
    "of a piece": lambda x: 1 - x.reshape(1)[0],
    "quotient": lambda x: x / 2,
}
FLOATS: dict[str, Function] = {
    "x + 0.5": lambda x: x + 0.5,
    "0.1 - x": lambda x: 0.1 - x,
    "x / 0.3": lambda x: x / 0.3,
    "lerp": lambda x: torch.lerp(x, x * 2, 0.3),
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "leaky ReLU": lambda x: torch.nn.functional.leaky_relu(-x, 0.3),
    "elu": lambda x: torch.nn.functional.elu(-x, 0.7),
    "softplus": torch.nn.functional.softplus,
    "addcdiv": lambda x: torch.addcdiv(x, x, x + 1, value=0.3),
}
CASES = [
    (torch.uint8, True),
    (torch.uint8, False),
    (torch.int16, True),
    (torch.int32, True),
    (torch.float16, True),
    (torch.bfloat16, False),
    (torch.float64, True),
]
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float64: 1e-14}


class All(torch.nn.Module):
    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = list(functions.values())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in self.functions]


@pytest.mark.parametrize(("dtype", "rewrites"), CASES)
def test_types_are_kept(dtype: torch.dtype, rewrites: bool, tmp_path: Path) -> None:
    check(ANY | FLOATS if dtype.is_floating_point else ANY, torch.tensor(2).to(dtype), rewrites, tmp_path)


def test_digits_beside_float64(tmp_path: Path) -> None:
    check(FLOATS, torch.tensor([[0.5, 2.0, 3.7]], dtype=torch.float64), True, tmp_path)


def check(functions: dict[str, Function], x: torch.Tensor, rewrites: bool, tmp_path: Path) -> None:
    model, dtype, path = All(functions), x.dtype, tmp_path / "m.pte"
    lowered = to_edge_rewrite_and_lower(export(model, (x,)), partitioner=[GgmlPartitioner(rewrites=rewrites)])
    path.write_bytes(lowered.to_executorch().buffer)
    with Program(path, threads=1) as program:
        wrong = [
            f"{name}: {got} {got.dtype} instead of {want} {want.dtype}"
            for name, got, want in zip(functions, program(x), model(x), strict=True)
            if got.dtype is not want.dtype
            or not torch.allclose(got.double(), want.double(), rtol=TOLERANCE.get(dtype, 0), atol=1e-15)
        ]
    assert not wrong, "\n".join(wrong)
