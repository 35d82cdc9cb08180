"""NaN and infinities as numbers of a program: what a tensor is compared with, bounds, fillings, factors, exponents."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates

pytestmark = pytest.mark.filterwarnings("ignore")

INF, NAN = float("inf"), float("nan")
LARGEST = 3.4028234663852886e38
VALUES = torch.tensor([0.0, 1, -1, 0.1, 2.5, LARGEST, -LARGEST, INF, -INF, NAN, 1e-45, -2, 7])
Function = Callable[[torch.Tensor], torch.Tensor]


def comparisons() -> dict[str, Function]:
    found: dict[str, Function] = {}
    numbers = (INF, -INF, NAN, 0.1, LARGEST, 1e39, -1e39)
    for name, c in itertools.product(("lt", "le", "gt", "ge", "eq", "ne"), numbers):
        fn = getattr(torch, name)
        found[f"{name} {c}"] = lambda x, fn=fn, c=c: fn(x, c)
        found[f"{name} a scalar {c}"] = lambda x, fn=fn, c=c: fn(x, torch.tensor(c))
        found[f"{name} integers, {c}"] = lambda x, fn=fn, c=c: fn(torch.arange(13), c)
        if abs(c) != 1e39:
            found[f"{name} a tensor of {c}"] = lambda x, fn=fn, c=c: fn(torch.full((13,), c), x)
    return found


def others() -> dict[str, Function]:
    found: dict[str, Function] = {}
    for c in (INF, -INF, NAN):
        functions: dict[str, Function] = {
            "where": lambda x, c=c: torch.where(x > 0, x, c),
            "where, first": lambda x, c=c: torch.where(x > 0, torch.full_like(x, c), x),
            "masked_fill": lambda x, c=c: x.masked_fill(x > 0, c),
            "full": lambda x, c=c: torch.full_like(x, c),
            "clamp, low": lambda x, c=c: x.clamp(min=c),
            "clamp, high": lambda x, c=c: x.clamp(max=c),
            "clamp, low of two": lambda x, c=c: x.clamp(c, 1),
            "clamp, high of two": lambda x, c=c: x.clamp(-1, c),
            "clamp by tensors": lambda x, c=c: torch.clamp(x, torch.tensor(c), torch.tensor(2.0)),
            "hardtanh": lambda x, c=c: F.hardtanh(x, -INF, c) if c != -INF else x,
            "clamp_min": lambda x, c=c: torch.clamp_min(x, c),
            "maximum": lambda x, c=c: torch.maximum(x, torch.tensor(c)),
            "minimum": lambda x, c=c: torch.minimum(torch.tensor(c), x),
            "threshold": lambda x, c=c: F.threshold(x, 0.5, c),
            "threshold at": lambda x, c=c: F.threshold(x, c, 0.5),
            "leaky_relu": lambda x, c=c: F.leaky_relu(x, c),
            "elu": lambda x, c=c: F.elu(x[1:3], c),
            "product": lambda x, c=c: x * c,
            "quotient": lambda x, c=c: x / c,
            "sum": lambda x, c=c: x + c,
            "power": lambda x, c=c: x**c,
            "power of": lambda x, c=c: c**x,
            "pad": lambda x, c=c: F.pad(x, (1, 2), value=c),
            "remainder": lambda x, c=c: x % c,
        }
        found |= {f"{name}, {c}": f for name, f in functions.items()}
    return found


class All(torch.nn.Module):
    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = list(functions.values())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in self.functions]


@pytest.mark.parametrize("kind", [comparisons, others], ids=lambda f: f.__name__)
def test_as_torch(kind: Callable[[], dict[str, Function]], tmp_path: Path) -> None:
    functions, path = kind(), tmp_path / "m.pte"
    model = All(functions)
    edge = to_edge_rewrite_and_lower(export(model, (VALUES,)))
    assert delegates(edge.exported_program())
    if kind is comparisons:
        left = {str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"}
        assert not [name for name in left if any(f"aten.{c}." in name for c in ("lt", "le", "gt", "ge", "eq", "ne"))]
    path.write_bytes(edge.to_executorch().buffer)
    wrong = []
    with Program(path, threads=1) as program:
        for name, got, want in zip(functions, program(VALUES), model(VALUES), strict=True):
            if got.dtype != want.dtype or not torch.allclose(got.double(), want.double(), rtol=1e-6, equal_nan=True):
                wrong.append(f"{name}: {got} instead of {want}")
    assert not wrong, "\n".join(wrong)
