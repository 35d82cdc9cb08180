"""Chains of halves that end in whole numbers, positions or booleans: each step is rounded, as torch rounds it.

ggml computes them in F32. Numbers beside halves keep the digits that a half has no room for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates
from executorch_ggml.aot.ops._fp16 import as_stored
from executorch_ggml.ir.builder import Builder, DType, GgmlType

pytestmark = pytest.mark.filterwarnings("ignore")

FP16_TYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
Function = Callable[[torch.Tensor], torch.Tensor]

# Of h, a product; "small" ones are zero once they are stored, "large" ones infinite in float16.
EXACT: dict[str, Function] = {
    "argmax": lambda h: h.argmax(-1),
    "argmin of all": lambda h: h.argmin(),
    "max, positions": lambda h: h.max(-1).indices,
    "sort, positions": lambda h: h.sort(dim=-1, stable=True).indices,
    "topk, values": lambda h: h.topk(5).values,
    "median, widened": lambda h: h.median(-1).values.float(),
    "integers": lambda h: (h * 8).long(),
    "bytes": lambda h: h.abs().to(torch.uint8),
    "booleans, small": lambda h: (h * 1e-4 * 1e-4).bool(),
    "any, small": lambda h: (h * 1e-4 * 1e-4).any(-1),
    "not, small": lambda h: torch.logical_not(h * 1e-4 * 1e-4),
    "different from zero, small": lambda h: (h * 1e-4 * 1e-4) != 0,
    "sign, small": lambda h: torch.sign(h * 1e-4 * 1e-4),
    "infinite, large": lambda h: torch.isinf(h * 1e4),
    "finite, large": lambda h: torch.isfinite(h * 1e4),
    "missing, large": lambda h: torch.isnan(h * 1e4 - h * 1e4),
    "compared with a number": lambda h: h > 0.1,
    "compared with another": lambda h: h >= 1 / 3,
    "compared with integers": lambda h: h * 1000 == torch.arange(30) * 100,
    "a chain, rounded down": lambda h: torch.floor(h * 3 + 0.3),
    "a chain, compared": lambda h: h * 1.1 > h.flip(0) * 0.7 - 0.3,
    "remainder": lambda h: (h * 1.1) % 0.7,
    "remainder by a tensor": lambda h: torch.remainder(h, h.flip(0)),
    "fmod": lambda h: torch.fmod(h * 1.1, 0.3),
    "quotient, cut off": lambda h: torch.div(h, 0.3, rounding_mode="trunc"),
    "quotient of tensors, cut off": lambda h: torch.div(h * 3, h.flip(0), rounding_mode="trunc"),
    "quotient, rounded down": lambda h: h // 0.3,
    "quotient of tensors, rounded down": lambda h: h // h.flip(0),
    "of a number, rounded down": lambda h: 2.5 // h,
    "by a scalar tensor, rounded down": lambda h: h // h[1, 3],
    "widened": lambda h: h.float(),
    "there and back": lambda h: (h.float() * 1.1).to(h.dtype).float(),
    "through the other half": lambda h: h.float().bfloat16().half().float(),
    "promoted": lambda h: h + torch.ones(30),
    "chosen from": lambda h: torch.where(h > 0, h, torch.ones(30)),
    "at the largest": lambda h: torch.gather(h.float(), 1, h.argmax(-1, keepdim=True)),
}
# To a rounding: at a pole, and beside numbers that are no halves.
CLOSE: dict[str, Function] = {
    "logarithm, small": lambda h: torch.log(h.abs() * 1e-4 * 1e-4),
    "inverse, small": lambda h: torch.reciprocal(h * 1e-4 * 1e-4),
    "inverse root, small": lambda h: torch.rsqrt(h.abs() * 1e-4 * 1e-4),
    "quotient, small": lambda h: h / (h * 1e-4 * 1e-4),
    "power below zero, small": lambda h: (h * 1e-4 * 1e-4) ** -2.0,
    "power of a number": lambda h: 0.9 ** (h * 4),
    "times a large number": lambda h: (h * 1e-3) * 1e6,
    "times a small number": lambda h: (h * 1e3) * 1e-9,
    "by a small number": lambda h: (h * 1e-4) / 1e-8,
    "plus a large number": lambda h: h + 1e5,
    "plus an alpha": lambda h: torch.add(h, h.flip(0), alpha=0.3),
    "times a scalar tensor": lambda h: (h * 1e3) * torch.tensor(1e-9),
    "power, not whole": lambda h: h.abs() ** 1.7,
    "norm": lambda h: F.normalize(h * 1e-2, dim=-1),
}


class All(torch.nn.Module):
    def __init__(self, functions: Mapping[str, Function]) -> None:
        super().__init__()
        self.functions = list(functions.values())

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
        return [f(x * y) for f in self.functions]


def pair(dtype: torch.dtype) -> Sequence[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(8, 30, generator=generator).mul(size).to(dtype) for size in (4, 1)]


def wrong(functions: Mapping[str, Function], dtype: torch.dtype, path: Path, relative: float) -> list[str]:
    model, args = All(functions), pair(dtype)
    edge = to_edge_rewrite_and_lower(export(model, tuple(args)))
    assert delegates(edge.exported_program())
    path.write_bytes(edge.to_executorch().buffer)
    found = []
    with Program(path, threads=1) as program:
        for name, got, want in zip(functions, program(*args), model(*args), strict=True):
            assert got.dtype == want.dtype, name
            g, w = got.double(), want.double()
            right = (g == w) | (g.isnan() & w.isnan()) | ((g - w).abs() <= relative * (w.abs() + 1))
            if not right.all():
                found.append(f"{name}: {g[~right][:4].tolist()} instead of {w[~right][:4].tolist()}")
    return found


@FP16_TYPES
def test_what_jumps_is_exact(dtype: torch.dtype, tmp_path: Path) -> None:
    assert not wrong(EXACT, dtype, tmp_path / "exact.pte", 0.0)


@FP16_TYPES
def test_poles_and_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    assert not wrong(CLOSE, dtype, tmp_path / "close.pte", 4 * torch.finfo(dtype).eps)


@FP16_TYPES
def test_quotients_of_special_values(dtype: torch.dtype, tmp_path: Path) -> None:
    special = torch.tensor([0.0, 1, -1, float("inf"), -float("inf"), float("nan"), 6e4, -3, 1e-7, 0.1]).to(dtype)

    class Floored(torch.nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.floor_divide(x, y)

    x, y = special[:, None].repeat(1, 10), special.repeat(10, 1)
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Floored(), (x, y))).to_executorch().buffer)
    with Program(path, threads=1) as program:
        torch.testing.assert_close(program(x, y)[0], Floored()(x, y), rtol=0, atol=0, equal_nan=True)


def test_what_only_moved_is_not_rounded_again() -> None:
    b = Builder("halves")
    x = b.add_input("x", (3, 5), DType.FLOAT16)
    moved = b.transpose(b.f32(x), 0, 1)
    assert as_stored(b, moved) is moved
    rounded = as_stored(b, b.add(moved, moved))
    assert as_stored(b, b.reshape(rounded, (15,))).node != moved.node
    casts = [n for n in b.graph.nodes if n.op == "Cast" and n.type is GgmlType.F16]
    assert len(casts) == 1
