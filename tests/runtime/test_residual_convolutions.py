"""Additions behind convolutions, which the CPU's graphs compute in the convolution where nobody can tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = [pytest.mark.quick, pytest.mark.filterwarnings("ignore")]

Block = Callable[["Residual", torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]]


class Residual(torch.nn.Module):
    """Two convolutions that keep the shape, and what a block makes of them."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        # 51 pixels: a panel of 48 and a tail of 3; 37 channels: two blocks and a part.
        self.a, self.b = (torch.nn.Conv2d(37, 37, 3, padding=1) for _ in range(2))
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return self.block(self, x)


FOLDED: dict[str, Block] = {
    "input": lambda m, x: m.a(x) + x,
    "the other way": lambda m, x: x + m.a(x),
    "relu": lambda m, x: F.relu(m.a(x) + x),
    "bounds": lambda m, x: F.relu6(m.a(x) + x),
    "two convolutions": lambda m, x: F.relu(m.a(x) + m.b(x)),
    "one behind the other": lambda m, x: F.relu(m.b(F.relu(m.a(x) + x)) + x),
    "something in between": lambda m, x: F.relu(m.a(x) + m.b(torch.tanh(x)).sigmoid()),
    "sum that is read again": lambda m, x: (lambda y: F.relu(y) * y)(m.a(x) + x),
    "sum that is a result": lambda m, x: (lambda y: (y, F.relu(y)))(m.a(x) + x),
}
LEFT: dict[str, Block] = {
    "convolution that is a result": lambda m, x: (lambda y: (y, F.relu(y + x)))(m.a(x)),
    "convolution that is read again": lambda m, x: (lambda y: (y + x) * y)(m.a(x)),
    "convolution with an activation": lambda m, x: F.relu(m.a(x)) + x,
    "added to itself": lambda m, x: (lambda y: y + y)(m.a(x)),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "folded"), [*((n, True) for n in FOLDED), *((n, False) for n in LEFT)])
def test_sum_behind_a_convolution(name: str, folded: bool, threads: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Residual((FOLDED if folded else LEFT)[name]).eval()
    x = torch.randn(2, 37, 3, 17)
    path = tmp_path / "residual.pte"
    path.write_bytes(to_edge_rewrite_and_lower(torch.export.export(model, (x,))).to_executorch().buffer)
    with torch.no_grad():
        want = model(x)
    with Program(path, threads=threads, profile=True) as program:
        for _ in range(2):
            got = program.execute("forward", [x])
            for g, w in zip(got, want if isinstance(want, tuple) else (want,), strict=True):
                torch.testing.assert_close(g, w, atol=1e-5, rtol=1e-5)
        ops = [row["op"] for row in program.stats()["ops"]]
    if "CONV_2D" in ops:  # ours, on a CPU that has the instructions
        assert ("ADD" not in ops) == folded
