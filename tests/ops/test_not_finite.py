"""NaN and infinities: what torch does with them."""

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

AS_TORCH: dict[str, Function] = {
    # choices: what is not chosen must not leak, whatever it is
    "where": lambda x: torch.where(x > 0.5, x, x * 2),
    "where, known places": lambda x: torch.where(torch.arange(6) > 2, 0.0, x),
    "where, other branch missing": lambda x: torch.where(x == x, x, torch.log(-x.abs() - 1)),
    "where, both missing": lambda x: torch.where(x > 0, torch.log(-x.abs() - 1), x * NAN),
    "where, infinite branch": lambda x: torch.where(x > 0.5, 1.0, x / 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 0.5, -3.0),
    "masked_fill, infinite": lambda x: x.masked_fill(x != x, -INF),
    # comparisons with NaN are false, except that it differs from everything
    "greater": lambda x: (x > 0.5).float(),
    "less or equal": lambda x: (x <= 0.5).float(),
    "equal": lambda x: (x == 0.5).float(),
    "different": lambda x: (x != x).float(),
    # extrema
    "amax": lambda x: x.amax(-1),
    "amax, two": lambda x: x.amax((0, 2)),
    "amin": lambda x: x.amin(0),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(),
    "max.dim": lambda x: x.max(-1).values,
    "min.dim": lambda x: x.min(1).values,
    "argmax": lambda x: x.argmax(-1),
    "argmin": lambda x: x.argmin(-1),
    "argmax, all": lambda x: x.argmax(),
    "max.dim, positions": lambda x: x.max(1).indices,
    "maximum": lambda x: torch.maximum(x, x.flip(-1) * 2),
    "minimum": lambda x: torch.minimum(x, x.flip(-1) * 2),
    "clamp by tensors": lambda x: torch.clamp(x, torch.tensor(-1.0), torch.tensor(2.0)),
    "median": lambda x: x.median(-1).values,
    "median, positions": lambda x: x.median(-1).indices,
    "median, all": torch.median,
    "topk": lambda x: x[0].topk(2, -1).values,
    "topk, smallest": lambda x: x[0].topk(4, -1, largest=False).values,
    # sums and products
    "mean": lambda x: x.mean(-1),
    "var": lambda x: x.var(-1),
    "sum": lambda x: x.sum(0),
    "cumsum": lambda x: x.cumsum(-1),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "layer_norm": lambda x: F.layer_norm(x, (6,)),
    "product": lambda x: x @ x.transpose(-1, -2),
    "linear": lambda x: F.linear(x, torch.ones(3, 6)),
    "avg_pool2d": lambda x: F.avg_pool2d(x[None], 2),
    "max_pool2d": lambda x: F.max_pool2d(x[None], 2),
    "max_pool2d, dilated": lambda x: F.max_pool2d(x[None], 2, 1, 0, 2),
    "max_pool2d, with positions": lambda x: torch.cat(F.max_pool2d(x[None], 2, 1, 1, return_indices=True)),
    "max_pool2d, dilated with positions": lambda x: torch.cat(F.max_pool2d(x[None], 2, 1, 0, 2, return_indices=True)),
    "max_pool3d, with positions": lambda x: torch.cat(F.max_pool3d(x[None], 2, 1, return_indices=True)),
    "adaptive_max_pool2d, with positions": lambda x: torch.cat(F.adaptive_max_pool2d(x, (2, 4), return_indices=True)),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x[None], (2, 3)),
    # element by element
    "elu": F.elu,
    "hardswish": F.hardswish,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "threshold": lambda x: F.threshold(x, 0.5, 7.0),
    "softplus": F.softplus,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2])),
    "sign": torch.sign,
    "isnan": torch.isnan,
    "isinf": torch.isinf,
    "round": torch.round,
    "trunc": torch.trunc,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "log": torch.log,
    "power": lambda x: x**3,
    "power, not whole": lambda x: x**1.7,
    "expm1": torch.expm1,
    "exp2": torch.exp2,
    # what compares
    "relu": F.relu,
    "relu6": F.relu6,
    "clamp": lambda x: x.clamp(-1, 2),
    "clamp, below": lambda x: x.clamp(min=-1),
    "clamp, crossed": lambda x: x.clamp(2, -1),
    "hardtanh": F.hardtanh,
    "leaky_relu": F.leaky_relu,
    "leaky_relu, slope": lambda x: F.leaky_relu(x, -0.5),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 1.3),
    "hardsigmoid": F.hardsigmoid,
    "relu of a product": lambda x: F.relu(F.linear(x, torch.ones(3, 6))),
    "hardsigmoid of a product": lambda x: F.hardsigmoid(F.linear(x[0, :1], torch.ones(3, 6))),
}


class All(torch.nn.Module):
    """Every function on one input: exporting costs far more than the nodes do."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = list(functions.values())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [f(x) for f in self.functions]


def sample() -> torch.Tensor:
    x = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0)) * 3
    x[0, 0, 0] = x[0, 1, 5] = x[1, 1, 4] = x[1, 3, 1] = NAN
    x[0, 2, :] = NAN
    x[1, 0, 0] = x[1, 1, 2] = INF
    x[1, 0, 3] = x[1, 2, 2] = -INF
    x[1, 3, 0] = 0.5
    return x


def results(functions: dict[str, Function], path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """name -> (ours, torch's)."""
    model, x = All(functions), sample()
    edge = to_edge_rewrite_and_lower(export(model, (x,)))
    assert len(delegates(edge.exported_program())) == 1
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        return dict(zip(functions, zip(program(x), model(x), strict=True), strict=True))


def test_as_torch(tmp_path: Path) -> None:
    wrong = []
    for name, (got, want) in results(AS_TORCH, tmp_path / "all.pte").items():
        if not torch.allclose(got.double(), want.double(), rtol=1e-4, atol=1e-5, equal_nan=True):
            wrong.append(f"{name}: {got} instead of {want}")
    assert not wrong, "\n".join(wrong)


def test_a_sort_among_many_missing_ends(tmp_path: Path) -> None:
    """Sorting with `<` is not defined when some elements are NaN."""
    x = torch.randn(4, 1000, generator=torch.Generator().manual_seed(1))
    x[torch.rand(4, 1000, generator=torch.Generator().manual_seed(2)) > 0.995] = NAN

    class Sorts(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.topk(20).values, x.median(-1).values

    edge = to_edge_rewrite_and_lower(export(Sorts(), (x,)))
    path = tmp_path / "sorts.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        for got, want in zip(program(x), Sorts()(x), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=0, equal_nan=True)
