"""Large inputs of the CPU are read where they are: nothing may write to them, and results may not be part of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from executorch_ggml import Program, to_edge_rewrite_and_lower

SHAPE = (64, 1024)


class InPlace(torch.nn.Module):
    """Elementwise nodes, which get the memory of their source."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * 2 + 1).relu()


class Views(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.reshape(1024, 64) + 1, x.t() * 3


class Returned(torch.nn.Module):
    """The input, as it is, beside something computed from it."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.reshape(32, 2048), x - 1


class Written(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y[:, 8:24] = 0.5
        return y + x


@pytest.mark.parametrize("model", [InPlace(), Views(), Returned(), Written()], ids=lambda m: type(m).__name__)
def test_inputs_stay_as_they_are(model: torch.nn.Module, tmp_path: Path) -> None:
    example = torch.zeros(SHAPE)
    path = tmp_path / "borrowed.pte"
    path.write_bytes(to_edge_rewrite_and_lower(torch.export.export(model, (example,))).to_executorch().buffer)
    program = Program(path)
    kept = []
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
        before = x.copy()
        got = program(x)
        want = model(torch.from_numpy(before))
        want = want if isinstance(want, tuple) else (want,)
        np.testing.assert_array_equal(x, before)
        kept.append((got, [w.numpy().copy() for w in want]))
        x[:] = np.nan
    for got, want in kept:
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-6, atol=1e-6)


def test_addresses_may_be_anything(tmp_path: Path) -> None:
    path = tmp_path / "borrowed.pte"
    exported = torch.export.export(InPlace(), (torch.zeros(SHAPE),))
    path.write_bytes(to_edge_rewrite_and_lower(exported).to_executorch().buffer)
    program = Program(path)
    for offset in (0, 4, 16, 64, 1):
        memory = np.zeros(64 * 1024 * 4 + 64, np.uint8)
        x = memory[offset : offset + 64 * 1024 * 4].view(np.float32).reshape(SHAPE)
        x[:] = np.arange(x.size, dtype=np.float32).reshape(SHAPE) - 3000
        np.testing.assert_array_equal(program(x)[0], np.maximum(x * 2 + 1, 0))
