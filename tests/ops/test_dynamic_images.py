"""Images, signals and volumes of any size: what once stayed on the host because a size was dynamic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

Forms = Mapping[str, Callable[[torch.Tensor], torch.Tensor]]


def pad(mode: str, *widths: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.pad(x, widths, mode)


def resize(mode: str, factor: float, **how: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: F.interpolate(x, scale_factor=factor, mode=mode, **how)


IMAGES: Forms = {
    "reflect": pad("reflect", 1, 2, 2, 0),
    "replicate": pad("replicate", 3, 0, 1, 5),
    "circular": pad("circular", 1, 1, 2, 1),
    "constant": lambda x: F.pad(x, (1, 0, 2, 1), value=-2.5),
    "nearest": resize("nearest", 2),
    "nearest of a size": lambda x: F.interpolate(x, size=(x.shape[2] * 3, x.shape[3] * 2)),
    "half": resize("nearest", 0.5),
    "exact": resize("nearest-exact", 3),
    "bilinear": resize("bilinear", 2),
    "bilinear by a half more": resize("bilinear", 1.5),
    "bilinear half": resize("bilinear", 0.5),
    "bicubic": resize("bicubic", 2),
    "bicubic of a size": lambda x: F.interpolate(x, size=(x.shape[2] * 2, x.shape[3]), mode="bicubic"),
    "tile": lambda x: x.tile(1, 1, 2, 3),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 3),
    "repeated for each row": lambda x: x.mean(2, keepdim=True).repeat(1, 1, x.shape[2], 1),
    "padding not counted": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "divisor": lambda x: F.avg_pool2d(x, (2, 3), (1, 2), (1, 1), divisor_override=5),
    "unfold": lambda x: x.unfold(3, 3, 2).amax(-1),
}

ODD: Forms = {
    "max": lambda x: F.max_pool2d(x - 9, 2, 2, ceil_mode=True),
    "max, padded": lambda x: F.max_pool2d(x - 9, 3, 2, 1, ceil_mode=True),
    "mean": lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True),
    "mean, padded": lambda x: F.avg_pool2d(x, 4, 2, 1, ceil_mode=True),
    "mean, padding not counted": lambda x: F.avg_pool2d(x, 4, 2, 1, ceil_mode=True, count_include_pad=False),
}

SIGNALS: Forms = {
    "reflect": pad("reflect", 3, 4),
    "replicate": pad("replicate", 0, 2),
    "circular": pad("circular", 2, 2),
    "nearest": resize("nearest", 2),
    "linear": resize("linear", 2),
    "linear, thrice": resize("linear", 3),
    "unfold": lambda x: x.unfold(2, 4, 3).mean(-1),
}

VOLUMES: Forms = {
    "reflect": pad("reflect", 1, 0, 1, 1, 0, 2),
    "replicate": pad("replicate", 1, 0, 1, 1, 0, 2),
    "constant": lambda x: F.pad(x, (1, 0, 2, 1, 0, 1)),
    "nearest": resize("nearest", 2),
    "trilinear": resize("trilinear", 2),
}


class Together(torch.nn.Module):
    """All forms at once: an export costs far more than a form."""

    def __init__(self, forms: Forms) -> None:
        super().__init__()
        self.forms = list(forms.values())

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [form(x * 0.5) for form in self.forms]


def check(forms: Forms, shape: tuple[int, ...], dynamic: Any, sizes: list[tuple[int, ...]], path: Path) -> None:
    module = Together(forms).eval()
    edge = to_edge_rewrite_and_lower(export(module, (torch.randn(shape),), dynamic_shapes=(dynamic,)))
    left = {str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"}
    assert not {n for n in left if "aten" in n and "sym_size" not in n}
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        for size in sizes:
            x = torch.randn(size)
            for name, got, want in zip(forms, running(x), module(x), strict=True):
                assert got.shape == want.shape, f"{name} of {size}"
                torch.testing.assert_close(
                    got, want, rtol=1e-5, atol=1e-5, msg=lambda m, n=name, s=size: f"{n} {s} {m}"
                )


def test_images_of_any_size(tmp_path: Path) -> None:
    dynamic = {0: Dim("n", min=1, max=3), 2: Dim("h", min=5, max=40), 3: Dim("w", min=5, max=40)}
    sizes = [(1, 2, 5, 5), (2, 2, 10, 8), (1, 2, 21, 6), (3, 2, 33, 40)]
    check(IMAGES, (2, 2, 10, 9), dynamic, sizes, tmp_path / "images.pte")


def test_pooling_with_an_open_end(tmp_path: Path) -> None:
    h, w = Dim("h", min=3, max=20), Dim("w", min=3, max=20)
    sizes = [(1, 2, 5, 5), (1, 2, 11, 9), (1, 2, 39, 7)]
    check(ODD, (1, 2, 11, 9), {2: 2 * h - 1, 3: 2 * w - 1}, sizes, tmp_path / "odd.pte")


def test_signals_of_any_length(tmp_path: Path) -> None:
    sizes = [(2, 3, 7), (2, 3, 16), (2, 3, 50)]
    check(SIGNALS, (2, 3, 12), {2: Dim("n", min=7, max=50)}, sizes, tmp_path / "signals.pte")


def test_volumes_of_any_size(tmp_path: Path) -> None:
    dynamic = {2: Dim("d", min=3, max=6), 4: Dim("w", min=3, max=9)}
    sizes = [(1, 2, 3, 4, 3), (1, 2, 5, 4, 7), (1, 2, 6, 4, 9)]
    check(VOLUMES, (1, 2, 4, 4, 5), dynamic, sizes, tmp_path / "volumes.pte")


def test_a_border_that_is_not_finite_stays_where_it_is(tmp_path: Path) -> None:
    forms: Forms = {n: IMAGES[n] for n in ("reflect", "replicate", "bilinear", "nearest", "tile")}
    module = Together(forms).eval()
    dynamic = ({2: Dim("h", min=4, max=20)},)
    edge = to_edge_rewrite_and_lower(export(module, (torch.randn(1, 2, 6, 5),), dynamic_shapes=dynamic))
    (tmp_path / "x.pte").write_bytes(edge.to_executorch().buffer)
    x = torch.randn(1, 2, 9, 5)
    x[0, 0, 0, 0], x[0, 1, 8, 4] = float("inf"), float("nan")
    with Program(tmp_path / "x.pte", threads=1) as running:
        for got, want in zip(running(x), module(x), strict=True):
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5, equal_nan=True)
