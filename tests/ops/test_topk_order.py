"""top-k and sorts of equal values, infinities and NaN: torch's choice of them, in torch's order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for k, largest in ((1, True), (3, False), (6, True), (13, True), (13, False)):
            found += [*torch.topk(x, k, 1, largest)]
        found += [*torch.sort(x[:, :13], 1), *torch.sort(x[:, :13], 1, descending=True)]
        return [*found, *torch.topk(x.transpose(0, 1), 4, 0)]


def test_equal_values_come_in_torchs_order(tmp_path: Path) -> None:
    x = torch.zeros(3, 30)
    sizes = ({0: Dim("rows", min=1, max=9), 1: Dim("width", min=14, max=2000)},)
    path = tmp_path / "m.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(Net(), (x,), dynamic_shapes=sizes)).to_executorch().buffer)
    generator = torch.Generator().manual_seed(3)
    with Program(path, threads=2) as program:
        for rows, width in ((3, 30), (1, 14), (2, 17), (9, 64), (3, 200), (2, 1000), (1, 2000)):
            few = torch.randint(0, 4, (rows, width), generator=generator).float()
            ends = torch.tensor([-float("inf"), float("inf"), 0.0, -0.0])[few.long()]
            odd = torch.tensor([float("nan"), float("inf"), 1.0, -float("inf")])[few.long()]
            for given in (torch.zeros(rows, width), few, ends, odd, torch.randn(rows, width, generator=generator)):
                for got, want in zip(program.execute("forward", [given]), Net()(given), strict=True):
                    torch.testing.assert_close(torch.as_tensor(got), want, rtol=0, atol=0, equal_nan=True)
