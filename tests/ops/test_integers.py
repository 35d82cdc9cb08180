"""Integers are torch's to the last bit: they wrap around, and divide as torch divides them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, register_backend, to_edge_rewrite_and_lower
from executorch_ggml.errors import GgmlError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")

Function = Callable[..., torch.Tensor]


def edges(dtype: torch.dtype) -> torch.Tensor:
    info = torch.iinfo(dtype)
    found = {0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.max // 2 + 1, info.min, info.min + 1, info.min // 2}
    if info.min < 0:
        found |= {-1, -2, -7, -100}
    found |= {v for v in (2**24 + 1, -(2**24) - 1, 2**53 + 1, -(2**53) - 3) if info.min <= v <= info.max}
    return torch.tensor(sorted(found), dtype=dtype)


def pairs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """All pairs of edges with a divisor that is not zero, and none that torch itself overflows on."""
    values = edges(dtype)
    x, y = (t.flatten() for t in torch.meshgrid(values, values, indexing="ij"))
    info = torch.iinfo(dtype)
    keep = (y != 0) & ~((x == info.min) & (y == -1) & (info.min < 0))
    return x[keep], y[keep]


WITH_NUMBERS: dict[str, Function] = {
    "+ 100": lambda x: x + 100,
    "- 1": lambda x: x - 1,
    "1 -": lambda x: 1 - x,
    "* 3": lambda x: x * 3,
    "negative": lambda x: -x,
    "absolute": torch.abs,
    "alpha": lambda x: torch.add(x, x, alpha=3),
    "square": lambda x: x * x,
    "cube": lambda x: x**3,
    "seventh power": lambda x: x**7,
    "power of zero": lambda x: x**0,
    "sum": lambda x: x.sum(),
    "sum of its type": lambda x: x.sum(dtype=x.dtype),
    "running sum": lambda x: x.cumsum(0),
    "running sum of its type": lambda x: x.cumsum(0, dtype=x.dtype),
    "product": lambda x: x.prod(),
    "largest": lambda x: x.reshape(1, -1).amax(1),
    "smallest": lambda x: x.amin(),
    "which is largest": lambda x: x.argmax(),
    "clamp": lambda x: x.clamp(3, 100),
    "greater": lambda x: x > 50,
    "equal to a fraction": lambda x: x == 2.5,
    "where": lambda x: torch.where(x > 3, x, x - 100),
    "half": lambda x: x * 0.5,
    "a third": lambda x: x / 3,
    "// 3": lambda x: x // 3,
    "// -3": lambda x: x // -3,
    "% 3": lambda x: x % 3,
    "% -3": lambda x: x % -3,
    "fmod -3": lambda x: torch.fmod(x, -3),
    "towards zero": lambda x: torch.div(x, -3, rounding_mode="trunc"),
    "<< 2": lambda x: x << 2,
    ">> 2": lambda x: x >> 2,
    "rounded": lambda x: torch.floor(x) + torch.round(torch.trunc(torch.ceil(x))),
    "itself as a power": lambda x: x**1,
    "bits": lambda x: (x & 5) | (x ^ 3),
    "to int8": lambda x: x.to(torch.int8),
    "to uint8": lambda x: x.to(torch.uint8),
    "to int16": lambda x: x.to(torch.int16),
    "to int32": lambda x: x.to(torch.int32),
    "through float and back": lambda x: (x.float() * 0.25).to(torch.int64),
    "to bool": lambda x: x.bool(),
}
WITH_TENSORS: dict[str, Function] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "//": lambda x, y: x // y,
    "%": lambda x, y: x % y,
    "fmod": torch.fmod,
    "div trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "true division": lambda x, y: x / y,
    "maximum": torch.maximum,
    "==": lambda x, y: x == y,
    "<": lambda x, y: x < y,
    "mixed": lambda x, y: x * y.to(torch.int64) + x,
    "mixed %": lambda x, y: x.to(torch.int64) % y,
}


class All(torch.nn.Module):
    """Many functions of the same arguments as one program: exporting costs far more than running."""

    def __init__(self, functions: dict[str, Function]) -> None:
        super().__init__()
        self.functions = functions

    def forward(self, *args: torch.Tensor) -> list[torch.Tensor]:
        return [fn(*args) for fn in self.functions.values()]


def lowered(module: torch.nn.Module, args: tuple[Any, ...], tmp_path: Path, **options: Any) -> Path:
    program = to_edge_rewrite_and_lower(export(module, args, strict=False, **options)).to_executorch()
    path = tmp_path / "m.pte"
    path.write_bytes(program.buffer)
    return path


def check(functions: dict[str, Function], args: tuple[torch.Tensor, ...], tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    module = All(functions)
    path = lowered(module, args, tmp_path)
    register_backend()
    buffer = path.read_bytes()  # ExecuTorch's runtime reads it for as long as the method lives
    method = Runtime.get().load_program(buffer).load_method("forward")
    with Program(path, threads=1) as ours:
        for results in (ours.execute("forward", list(args)), method.execute(list(args))):
            wrong = []
            for name, got, want in zip(functions, results, module(*args), strict=True):
                got = torch.as_tensor(got)
                same = torch.equal(got, want) if not want.is_floating_point() else torch.allclose(got, want, 1e-6, 0)
                if got.dtype is not want.dtype or not same:
                    wrong.append(name)
            assert not wrong


TYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_operators_with_numbers(dtype: torch.dtype, tmp_path: Path) -> None:
    check(WITH_NUMBERS, (edges(dtype),), tmp_path)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_operators_with_tensors(dtype: torch.dtype, tmp_path: Path) -> None:
    check(WITH_TENSORS, pairs(dtype), tmp_path)


def test_small_integers_stay_in_the_delegate_where_they_cannot_wrap(tmp_path: Path) -> None:
    """An image of bytes is scaled by ggml, a sum of two of them wraps around on the host."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.conv((x.float() - 127.5) / 127.5), x + x

    image = torch.randint(0, 256, (1, 3, 6, 6), dtype=torch.uint8)
    module = Net().eval()
    with Program(lowered(module, (image,), tmp_path), threads=1) as ours:
        features, doubled = ours.execute("forward", [image])
    assert torch.equal(torch.as_tensor(doubled), image + image)
    assert torch.allclose(torch.as_tensor(features), module(image)[0], atol=1e-5)


def test_division_ends_in_a_number_or_an_error(tmp_path: Path) -> None:
    module = All({"//": lambda x, y: x // y, "%": lambda x, y: x % y, "fmod": torch.fmod})
    for dtype in (torch.int32, torch.int64):
        least = torch.iinfo(dtype).min
        x, y = torch.tensor([least, 7], dtype=dtype), torch.tensor([-1, -2], dtype=dtype)
        with Program(lowered(module, (x, y), tmp_path), threads=1) as ours:
            results = [torch.as_tensor(r).tolist() for r in ours.execute("forward", [x, y])]
            assert results == [[least, -4], [0, -1], [0, 1]]
            with pytest.raises(GgmlError):
                ours.execute("forward", [x, torch.zeros(2, dtype=dtype)])


def test_power_of_tensors_is_refused_where_float64_would_round(tmp_path: Path) -> None:
    module = All({"power": lambda x, y: x**y})
    x, y = torch.tensor([3, 5]), torch.tensor([40, 2])
    with pytest.raises(UnsupportedError, match="2\\^53"):
        lowered(module, (x, y), tmp_path)
    small = All({"power": lambda x, y: x.clamp(-9, 9) ** y.clamp(0, 5)})
    with Program(lowered(small, (x, y), tmp_path), threads=1) as ours:
        assert torch.equal(torch.as_tensor(ours.execute("forward", [x, y])[0]), small(x, y)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_remainders_of_floats_round_the_divisor_first(dtype: torch.dtype, tmp_path: Path) -> None:
    x = torch.tensor([-7.0, 7.0, 0.0, -0.0, 5.5, -5.5, 100.0, 3.0, -0.3, 1.0]).to(dtype)
    functions: dict[str, Function] = {
        "% 0.3": lambda x: x % 0.3,
        "% -0.7": lambda x: x % -0.7,
        "fmod 0.1": lambda x: torch.fmod(x, 0.1),
        "// 0.1": lambda x: x // 0.1,
        "5.3 %": lambda x: 5.3 % (x + 200),
    }
    module = All(functions)
    with Program(lowered(module, (x,), tmp_path), threads=1) as ours:
        for name, got, want in zip(functions, ours.execute("forward", [x]), module(x), strict=True):
            torch.testing.assert_close(torch.as_tensor(got).float(), want.float(), rtol=1e-6, atol=1e-6, msg=name)
