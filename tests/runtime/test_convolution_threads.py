"""Convolutions on several threads: bands of planes, runs of planes and pieces of kernels are shared out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from executorch_ggml import Program, to_edge_rewrite_and_lower

CASES = {
    "many planes": (torch.nn.Conv3d(8, 20, 3, padding=1), (1, 8, 40, 9, 11)),
    "a dilated depth": (torch.nn.Conv3d(16, 16, (3, 1, 1), padding=(4, 0, 0), dilation=(4, 1, 1)), (1, 16, 50, 7, 9)),
    "strides": (torch.nn.Conv3d(8, 20, 3, padding=1, stride=2), (2, 8, 21, 30, 29)),
    "few planes": (torch.nn.Conv3d(32, 40, 3, padding=1), (1, 32, 2, 7, 7)),
    "an image": (torch.nn.Conv2d(24, 40, 3, padding=1), (1, 24, 61, 59)),
    "a wide image": (torch.nn.Conv2d(3, 24, 5, padding=2), (2, 3, 60, 128)),
    "grouped": (torch.nn.Conv3d(8, 16, 3, padding=1, groups=4), (1, 8, 6, 13, 24)),
    "depthwise": (torch.nn.Conv3d(12, 12, 3, padding=1, stride=(2, 1, 1), groups=12), (2, 12, 9, 13, 24)),
}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", CASES)
def test_threads_agree_with_torch(name: str, threads: int, tmp_path: Path) -> None:
    layer, shape = CASES[name]
    model = torch.nn.Sequential(layer, torch.nn.ReLU()).eval().requires_grad_(False)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    path = tmp_path / "convolution.pte"
    path.write_bytes(to_edge_rewrite_and_lower(torch.export.export(model, (x,)), strict=True).to_executorch().buffer)
    program = Program(path, threads=threads)
    want = model(x)
    for _ in range(3):  # counters of threads start anew
        torch.testing.assert_close(program(x)[0], want, rtol=1e-5, atol=1e-5)


def test_kernels_that_the_graph_cuts_out_are_no_slow_case(tmp_path: Path) -> None:
    """They have no buffer when the graph is built; ggml's kernels took thirteen times as long."""
    layer, shape = CASES["depthwise"]
    path = tmp_path / "convolution.pte"
    exported = torch.export.export(layer.eval(), (torch.zeros(shape),))
    path.write_bytes(to_edge_rewrite_and_lower(exported).to_executorch().buffer)
    program = Program(path, profile=True)
    program(torch.zeros(shape))
    ran = {op["op"] for op in program.stats()["ops"]}
    assert "CONV_2D_DEPTHWISE" in ran
    assert "CONV_2D_DW" not in ran
