"""Quantised products of activations that a block with a scale of half precision cannot hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.export import Dim, export

from executorch_ggml import GgmlQuantConfig, Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")

NAN, INF = float("nan"), float("inf")
ROWS = (1, 3, 16)  # a vector, few rows, as many as our own kernel takes


def program_of(path: Path, kind: str, width: int = 64) -> tuple[torch.nn.Linear, Program]:
    torch.manual_seed(0)
    model = torch.nn.Linear(256, width, bias=False).eval()
    rows = {0: Dim("rows", min=1, max=32)}
    exported = export(model, (torch.randn(3, 256),), dynamic_shapes=(rows,))
    edge = to_edge_rewrite_and_lower(exported, quant=GgmlQuantConfig(kind, minimum_size=0))
    path.write_bytes(edge.to_executorch().buffer)
    return model, Program(path, threads=1)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_K", "Q6_K", "F16", "BF16"])
def test_rows_that_are_not_finite(tmp_path: Path, kind: str) -> None:
    """They are what torch makes of them, and rows beside them do not change."""
    model, program = program_of(tmp_path / "linear.pte", kind, width=2048 if kind == "Q8_0" else 64)
    with program, torch.no_grad():
        for rows in ROWS:
            x = torch.randn(rows, 256, generator=torch.Generator().manual_seed(1))
            plain = program(x)[0]
            for bad in (NAN, INF, -INF):
                y = x.clone()
                y[-1, 7] = bad
                got, want = program(y)[0], model(y)
                assert torch.equal(got[:-1], plain[:-1])
                assert not torch.isfinite(got[-1]).any(), f"{rows} rows, {bad}"
                # Quantised, a small weight may become 0, which makes NaN of an infinity, or change its sign.
                same = (got[-1] == want[-1]) | (got[-1].isnan() & want[-1].isnan())
                assert same.float().mean() > 0.8, f"{rows} rows, {bad}"


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q4_K", "F16"])
def test_rows_of_any_size(tmp_path: Path, kind: str) -> None:
    """A row times a power of two gives the result times that: no scale overflows, none vanishes."""
    _, program = program_of(tmp_path / "linear.pte", kind)
    with program, torch.no_grad():
        for rows in ROWS:
            x = torch.randn(rows, 256, generator=torch.Generator().manual_seed(1))
            want = program(x)[0]
            for power in (-100, -24, -14, 13, 23, 100):
                got = program(x * 2.0**power)[0] / 2.0**power
                where = f"{rows} rows, 2^{power}"
                bound = 1e-2 * float(want.abs().max())
                torch.testing.assert_close(got, want, rtol=0, atol=bound, msg=lambda m, w=where: f"{w}: {m}")
