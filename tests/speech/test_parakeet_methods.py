"""Each method of an exported Parakeet against eager torch, and against the library's own model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speech_models import MAX_FRAMES, TINY_PARAKEET, tiny_parakeet

from executorch_ggml import Program
from executorch_ggml.analysis.nmse import nmse

LENGTHS = (16, 157, MAX_FRAMES - 1)
"""Frames of log-mel: short, odd, just below the bound."""


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_parakeet()


@pytest.fixture(scope="module", params=["F32", "BF16", "Q8_0"])
def program(request: Any, parakeet_pte: Callable[[str], Path]) -> Iterator[tuple[str, Program]]:
    with Program(parakeet_pte(request.param), threads=1) as program:
        yield request.param, program


# Normalised squared error of each dtype.
BOUNDS = {"F32": 1e-8, "BF16": 1e-3, "Q8_0": 1e-3}


def agree(dtype: str, found: Any, wanted: Any) -> None:
    wanted = wanted.detach().numpy()
    assert found.shape == wanted.shape
    if dtype == "F32":
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert nmse(found, wanted) < BOUNDS[dtype]


@pytest.mark.parametrize("length", LENGTHS)
def test_log_mel(length: int, model: Any, program: tuple[str, Program]) -> None:
    import torch

    _dtype, runs = program
    samples = torch.randn(1, 160 * length + 240, generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        # The spectrum is exact whatever the weights are stored in.
        agree("F32", runs.execute("log_mel", [samples.numpy()])[0], model.log_mel(samples))


@pytest.mark.parametrize("length", LENGTHS)
def test_encoder(length: int, model: Any, program: tuple[str, Program]) -> None:
    import torch

    dtype, runs = program
    features = torch.randn(1, length, TINY_PARAKEET.mels, generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        agree(dtype, runs.execute("encoder", [features.numpy()])[0], model.encoder(features))


def test_predictor_keeps_its_state(program: tuple[str, Program]) -> None:
    import torch

    model, (dtype, runs) = tiny_parakeet(), program
    runs.reset()
    first = None
    for token in (TINY_PARAKEET.blank, 3, 3, 0, 17):
        found = runs.execute("predictor", [np.array([[token]])])[0]
        first = found if first is None else first
        with torch.no_grad():
            agree(dtype, found, model.predictor(torch.tensor([[token]])))
    runs.reset()
    np.testing.assert_array_equal(runs.execute("predictor", [np.array([[TINY_PARAKEET.blank]])])[0], first)


@pytest.mark.parametrize("length", [1, 7, 32])
def test_joint(length: int, model: Any, parakeet_pte: Callable[[str], Path]) -> None:
    import torch

    generator = torch.Generator().manual_seed(length)
    frames, predicted = (torch.randn(1, n, TINY_PARAKEET.joint_width, generator=generator) for n in (length, 1))
    with Program(parakeet_pte("F32"), threads=1) as runs:
        tokens, durations = runs.execute("joint", [frames.numpy(), predicted.numpy()])
    with torch.no_grad():
        wanted = model.joint(frames, predicted)
    np.testing.assert_array_equal(tokens, wanted[0].numpy())
    np.testing.assert_array_equal(durations, wanted[1].numpy())


def test_quantised_is_smaller(parakeet_pte: Callable[[str], Path]) -> None:
    size = {dtype: parakeet_pte(dtype).stat().st_size for dtype in BOUNDS}
    assert size["Q8_0"] < size["BF16"] < size["F32"]
