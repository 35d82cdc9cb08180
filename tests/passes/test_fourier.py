"""Fourier transforms as products with matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_checks import assert_same, assert_unchanged, functional
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.passes import complex_to_pairs

pytestmark = pytest.mark.filterwarnings("ignore")

fft = torch.fft
WINDOW = torch.hann_window(8)

FORMS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rfft": lambda x: fft.rfft(x).abs(),
    "rfft of an odd size": lambda x: torch.view_as_real(fft.rfft(x[..., :7])),
    "rfft along the first": lambda x: torch.view_as_real(fft.rfft(x, dim=0, norm="ortho")),
    "rfft filled up": lambda x: fft.rfft(x, n=21, norm="forward").imag,
    "rfft cut": lambda x: fft.rfft(x, n=5, dim=1).real,
    "irfft": lambda x: fft.irfft(fft.rfft(x) * 2.0),
    "irfft of another size": lambda x: fft.irfft(fft.rfft(x), n=9, norm="ortho"),
    "irfft takes lone numbers for real": lambda x: fft.irfft(torch.complex(x, x + 1.0)),
    "fft": lambda x: torch.stack([fft.fft(x).angle().cos(), fft.fft(x).angle().sin()]),  # -pi is pi
    "ifft": lambda x: torch.view_as_real(fft.ifft(x, norm="forward", dim=1).resolve_conj()),
    "fft of complex": lambda x: fft.ifft(fft.fft(x, n=20) * torch.complex(x[..., :1], x[..., 1:2])).real,
    "rfft2": lambda x: torch.view_as_real(fft.rfft2(x, s=(6, -1))),
    "irfft2": lambda x: fft.irfft2(fft.rfft2(x, norm="ortho"), norm="ortho"),
    "fftn": lambda x: torch.view_as_real(fft.fftn(x)),
    "fftn of the last": lambda x: torch.view_as_real(fft.fftn(x, s=(3, 4))),
    "ifftn": lambda x: fft.ifftn(x, dim=(0, 2)).imag,
    "rfftn, irfftn": lambda x: fft.irfftn(fft.rfftn(x, dim=(2, 0)) + 1.0j, dim=(2, 0)),
    "stft": lambda x: torch.stft(x[0], 8, 4, window=WINDOW, return_complex=True).abs(),
    "stft of both sides": lambda x: torch.view_as_real(
        torch.stft(x[:, 0], 8, 3, 6, torch.hann_window(6), False, "constant", True, False, return_complex=True)
    ),
    "stft of a row": lambda x: torch.stft(x[0, 0], 10, center=False, return_complex=True).real,
}


class Form(torch.nn.Module):
    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: torch.Tensor) -> Any:
        return self.fn(*args)


@pytest.mark.parametrize("name", FORMS)
def test_the_forms(name: str) -> None:
    module, args = Form(FORMS[name]), (torch.randn(3, 4, 16, generator=torch.Generator().manual_seed(1)),)
    ep = functional(module, args)
    assert complex_to_pairs(ep)
    values = [n.meta.get("val") for n in ep.graph.nodes]
    assert not any(v.is_complex() for v in values if isinstance(v, torch.Tensor))
    assert_same(ep, module, args)


def test_any_number_of_rows() -> None:
    module = Form(lambda x: fft.irfft(fft.rfft(x)) + torch.stft(x, 8, 4, center=False, return_complex=True).abs().sum())
    ep = functional(module, (torch.randn(3, 16),), (({0: Dim("n", min=1, max=9)},),))
    assert complex_to_pairs(ep)
    candidate = ep.module()
    for rows in (2, 5):
        x = torch.randn(rows, 16)
        torch.testing.assert_close(candidate(x), module(x))


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: fft.rfft(x),
        lambda x: fft.rfft(x.double()).abs(),
        lambda x: torch.stft(x[0], 8, 4, window=x[0, 0, :8], return_complex=True).abs(),
        lambda x: fft.hfft(fft.rfft(x)),
    ],
    ids=["complex result", "double", "window that is no constant", "no form"],
)
def test_others_stay(fn: Callable[..., Any]) -> None:
    assert_unchanged(functional(Form(fn), (torch.randn(3, 4, 16),)), complex_to_pairs)


def test_a_large_matrix_stays() -> None:
    assert_unchanged(functional(Form(lambda x: fft.fft(x).abs()), (torch.randn(1, 4096),)), complex_to_pairs)


def test_runs_on_ggml(tmp_path: Path) -> None:
    module = Form(lambda x: tuple(f(x) for f in FORMS.values()))
    x = torch.randn(3, 4, 16)
    edge = to_edge_rewrite_and_lower(export(module, (x,)))
    path = tmp_path / "fourier.pte"
    path.write_bytes(edge.to_executorch().buffer)
    for got, want, name in zip(Program(path)(x), module(x), FORMS, strict=True):
        assert torch.allclose(torch.as_tensor(got), want, rtol=1e-4, atol=1e-4), name


@pytest.mark.parametrize("size", [400, 1024])
def test_the_error_is_that_of_sums(size: int) -> None:
    """The bound that the pass states: a few times the square root of n, of the largest number's last digit."""
    x = torch.randn(8, size, generator=torch.Generator().manual_seed(2))
    ep = functional(Form(lambda x: torch.view_as_real(fft.rfft(x))), (x,))
    assert complex_to_pairs(ep)
    exact = torch.view_as_real(fft.rfft(x.double()))
    error = (ep.module()(x).double() - exact).abs().max() / exact.abs().max()
    assert error < 4.0 * size**0.5 * 2.0**-24
