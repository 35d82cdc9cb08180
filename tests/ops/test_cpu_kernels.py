"""Operators that are kernels of ours on the CPU: every digit, special numbers, 16-bit types, no elements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

INF, NAN = float("inf"), float("nan")


class Form(torch.nn.Module):
    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: torch.Tensor) -> Any:
        return self.fn(*args)


def run(
    path: Path, fn: Callable[..., Any], args: tuple[torch.Tensor, ...], dynamic: Any = None, call: Any = None
) -> Any:
    edge = to_edge_rewrite_and_lower(export(Form(fn), args, dynamic_shapes=dynamic))
    file = path / "case.pte"
    file.write_bytes(edge.to_executorch().buffer)
    with Program(file, threads=2) as program:
        return program(*(call or args))


def ulps(got: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest distance in units of the last place of F32; infinite where NaN or infinities differ."""
    want = exact.float()
    plain = torch.isfinite(want)
    if not torch.equal(got[~plain].nan_to_num(7.0, 8.0, 9.0), want[~plain].nan_to_num(7.0, 8.0, 9.0)):
        return INF
    unit = (torch.nextafter(want.abs(), torch.tensor(INF)) - want.abs()).double()
    return float(((got.double() - exact).abs() / unit)[plain].max())


SPECIAL = torch.tensor([NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 1e-30, -1e-30, 3e38, -3e38, 1e-45])
FUNCTIONS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]] = {
    "erfinv": (torch.erfinv, torch.cat([torch.linspace(-1, 1, 20001), 1 - torch.logspace(-7, -1, 999)])),
    "lgamma": (torch.lgamma, torch.cat([torch.linspace(0.01, 60, 20001), torch.logspace(-20, 20, 999)])),
    "digamma": (torch.digamma, torch.cat([torch.linspace(0.01, 60, 20001), torch.logspace(-20, 20, 999)])),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_digit(name: str, tmp_path: Path) -> None:
    fn, x = FUNCTIONS[name]
    x = torch.cat([x, SPECIAL])
    assert ulps(run(tmp_path, fn, (x,))[0], fn(x.double())) < 0.6


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_below_zero(name: str, tmp_path: Path) -> None:
    """Between the poles are zeros, where the last digits are those of the terms."""
    fn = FUNCTIONS[name][0]
    x = torch.linspace(-30.0, -0.01, 4001)
    got, exact = run(tmp_path, fn, (x,))[0], fn(x.double())
    plain = torch.isfinite(exact)
    assert torch.equal(torch.isnan(got), torch.isnan(exact))
    assert torch.equal(torch.isinf(got), torch.isinf(exact))
    assert ((got.double() - exact).abs()[plain] <= 1e-7 * exact.abs()[plain] + 1e-13).all()


WIDE: dict[str, Callable[[torch.Tensor], Any]] = {
    "cumprod": lambda x: torch.cumprod(x, 1),
    "cummax": lambda x: tuple(torch.cummax(x, 1)),
    "cummin": lambda x: tuple(torch.cummin(x, 0)),
    "logcumsumexp": lambda x: torch.logcumsumexp(x, 1),
    "searchsorted": lambda x: torch.searchsorted(torch.linspace(-2, 2, 9).to(x.dtype), x),
    "bucketize": lambda x: torch.bucketize(x, torch.linspace(-2, 2, 9).to(x.dtype), right=True),
    "erfinv": lambda x: torch.erfinv(x / 4),
    "lgamma": torch.lgamma,
    "digamma": torch.digamma,
}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    x = (torch.randn(5, 40, generator=torch.Generator().manual_seed(3)) * 1.5).to(dtype).clamp(-3.9, 3.9)
    for name, fn in WIDE.items():
        if name == "logcumsumexp" and dtype is torch.float16:
            continue  # torch has none
        got, want = run(tmp_path, fn, (x,)), fn(x)
        for g, w in zip(*(v if isinstance(v, (tuple, list)) else (v,) for v in (got, want)), strict=True):
            assert g.dtype == w.dtype, name
            limit = 4 * torch.finfo(dtype).eps if w.is_floating_point() else 0.0
            plain = torch.isfinite(w.float())
            assert torch.equal(torch.isfinite(g.float()), plain), name
            assert ((g.float() - w.float()).abs()[plain] <= limit * (w.float().abs()[plain] + 0.1)).all(), name


def test_no_elements(tmp_path: Path) -> None:
    """A dynamic size that is 0."""
    names = ("cumprod", "logcumsumexp", "searchsorted", "bucketize", "erfinv", "lgamma", "digamma")

    def all_of_them(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (*(WIDE[name](x) for name in names), *torch.cummax(x, 1), *torch.cummin(x, 1))

    none = (torch.randn(0, 4),)
    got = run(tmp_path, all_of_them, (torch.randn(3, 4),), (({0: Dim("n", min=0, max=5)},),), none)
    assert [tuple(g.shape) for g in got] == [(0, 4)] * (len(names) + 4)
