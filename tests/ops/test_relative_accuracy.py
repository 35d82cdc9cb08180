"""Elementwise functions over all of F32: small results keep their digits, ends and NaN are torch's.

Every function is held against torch in float64, element by element, relative to the element.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates

pytestmark = pytest.mark.filterwarnings("ignore")

NAN, INF = float("nan"), float("inf")
Function = Callable[[torch.Tensor], torch.Tensor]

FUNCTIONS: dict[str, Function] = {
    "abs": torch.abs,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "elu": F.elu,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "floor": torch.floor,
    "hardsigmoid": F.hardsigmoid,
    "leaky_relu": F.leaky_relu,
    "log": torch.log,
    "log10": torch.log10,
    "log1p": torch.log1p,
    "log2": torch.log2,
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "relu": F.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "rsqrt": torch.rsqrt,
    "selu": F.selu,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "softplus, beta": lambda x: F.softplus(x, 2.0),
    "softsign": F.softsign,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "tanh": torch.tanh,
    "trunc": torch.trunc,
    "clamp": lambda x: x.clamp(-1, 2),
    "clamp, below": lambda x: x.clamp(min=0.0),
    "clamp, above": lambda x: torch.clamp_max(x, 0.25),
    "quotient": lambda x: x / 3.0,
    "quotient of a number": lambda x: 3.0 / x,
    "power 3": lambda x: x**3,
    "power 7": lambda x: x**7,
    "power -1": lambda x: x**-1,
    "power -3": lambda x: x**-3,
    "power 0.5": lambda x: x**0.5,
    "power 1.7": lambda x: x**1.7,
    "power -2.5": lambda x: x**-2.5,
    "power of 2.5": lambda x: torch.pow(2.5, x),
    "power of 0.3": lambda x: 0.3**x,
    "power of 1": lambda x: torch.pow(1.0, x),
}

DIGITS = 1e-5  # relative
SMALLEST = 1.5e-45  # steps of subnormal numbers


def everything() -> torch.Tensor:
    """Magnitudes from the smallest number to the largest, dense where functions bend, halves, ends, NaN."""
    magnitudes = (10.0 ** torch.linspace(-45, 38.5, 500, dtype=torch.float64)).float()
    near_one = 1 + torch.linspace(-1e-3, 1e-3, 51)
    odd = [0.0, -0.0, INF, -INF, NAN, 1.4e-45, 1.1754944e-38, 3.4028235e38, 88.72, -87.4, -103.9, 8388607.5, 16777217.0]
    return torch.cat(
        [
            magnitudes,
            -magnitudes,
            torch.linspace(-110, 110, 1101),
            torch.linspace(-2, 2, 401),
            near_one,
            -near_one,
            torch.arange(-12, 13) / 2,
            torch.tensor(odd),
        ]
    )


class All(torch.nn.Module):
    """Every function on one input: exporting costs far more than the nodes do."""

    def __init__(self, functions: list[Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in self.functions]


def difference(x: torch.Tensor, got: torch.Tensor, eager: torch.Tensor, exact: torch.Tensor) -> str:
    """What is wrong, or nothing. Where eager itself is less exact than asked, its own error is the bound."""
    for name, odd in (("NaN", torch.isnan), ("infinite", torch.isinf)):
        wrong = odd(got) != odd(eager)
        if wrong.any():
            return f"{name} at {x[wrong][:3].tolist()}: {got[wrong][:3].tolist()}, torch {eager[wrong][:3].tolist()}"
    infinite = torch.isinf(got)
    if (got[infinite] != eager[infinite]).any():
        return "the sign of an infinity"
    finite = torch.isfinite(eager) & torch.isfinite(exact)
    error = (got.double() - exact).abs()
    bound = torch.maximum(DIGITS * exact.abs() + SMALLEST, 4 * (eager.double() - exact).abs())
    wrong = finite & (error > bound)
    if not wrong.any():
        return ""
    return f"{int(wrong.sum())} elements, first at {x[wrong][0]}: {got[wrong][0]}, exactly {exact[wrong][0]}"


def run(functions: dict[str, Function], x: torch.Tensor, path: Path) -> list[torch.Tensor]:
    edge = to_edge_rewrite_and_lower(export(All(list(functions.values())), (x,)))
    assert len(delegates(edge.exported_program())) == 1
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        results: list[torch.Tensor] = program(x)
    return results


def test_every_function_keeps_its_digits(tmp_path: Path) -> None:
    x = everything()
    results = run(FUNCTIONS, x, tmp_path / "all.pte")
    wrong = []
    for (name, f), got in zip(FUNCTIONS.items(), results, strict=True):
        if problem := difference(x, got, f(x), f(x.double())):
            wrong.append(f"{name}: {problem}")
    assert not wrong, "\n".join(wrong)


def test_the_difference_to_a_hyperbolic_tangent(tmp_path: Path) -> None:
    """x - tanh(x) near 0: eager subtracts nearly equal numbers, ours computes the cube."""
    x = torch.cat([torch.linspace(-4, 4, 999), 10.0 ** torch.linspace(-6, 0, 50)])
    forms: dict[str, Function] = {"named": F.tanhshrink, "written": lambda v: v - torch.tanh(v)}
    exact = F.tanhshrink(x.double())
    exact = torch.where(x.abs() < 1e-2, x.double() ** 3 / 3 - 2 * x.double() ** 5 / 15, exact)
    for got in run(forms, x, tmp_path / "tanhshrink.pte"):
        assert ((got.double() - exact).abs() <= 1e-6 * exact.abs()).all()


def test_gelu_far_from_zero(tmp_path: Path) -> None:
    """The left tails, against the tail itself: eager's sum of 1 and the error function keeps fewer digits."""
    x = torch.linspace(-5, 3, 801)
    (got,) = run({"gelu": F.gelu}, x, tmp_path / "gelu.pte")
    exact = x.double() * 0.5 * torch.erfc(-x.double() / 2**0.5)
    assert (got.double() - exact).abs().max() < 3e-7


def test_means_of_what_cancels(tmp_path: Path) -> None:
    """Sums are kept in double: 1e8 and -1e8 leave what is beside them."""
    x = torch.cat([torch.full((2, 1000), 1e8), torch.full((2, 1000), -1e8), torch.ones(2, 1000)], 1)
    functions: dict[str, Function] = {"mean": lambda v: v.mean(-1), "sum": lambda v: v.sum(-1)}
    mean, total = run(functions, x, tmp_path / "sums.pte")
    torch.testing.assert_close(mean, torch.full((2,), 1 / 3), rtol=1e-6, atol=0)
    torch.testing.assert_close(total, torch.full((2,), 1000.0), rtol=1e-6, atol=0)


def test_running_sums_keep_what_cancels(tmp_path: Path) -> None:
    """torch adds up in double: 1e8 + 1 - 1e8 is 1, and 3e38 + 3e38 - 3e38 is finite."""

    class Sums(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [torch.cumsum(x, -1), torch.cumsum(x, 0), torch.cumsum(x.t(), 0)]

    x = torch.tensor([[1e8, 1.0, -1e8, 0.25, INF], [3e38, 3e38, -3e38, -3e38, 1e-3]])
    x = torch.cat([x, torch.rand(2, 5)])
    lowered, path = to_edge_rewrite_and_lower(export(Sums(), (x,))), tmp_path / "m.pte"
    assert delegates(lowered.exported_program())
    path.write_bytes(lowered.to_executorch().buffer)
    with Program(path, threads=1) as program:
        for got, want in zip(program(x), Sums()(x), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
