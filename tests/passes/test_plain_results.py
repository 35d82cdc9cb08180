"""Named results of torch become tuples, which a `.pte` can describe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.passes import return_plain_results

pytestmark = pytest.mark.filterwarnings("ignore")


class Calls(torch.nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize("name", ["max", "min", "median"])
def test_a_named_result_is_written(name: str, tmp_path: Path) -> None:
    model, x = Calls(lambda x: getattr(torch, name)(x, 1)), torch.randn(5, 7)
    program = export(model, (x,))
    edge = to_edge_rewrite_and_lower(program)
    path = tmp_path / "named.pte"
    path.write_bytes(edge.to_executorch().buffer)
    want = model(x)
    with Program(path, threads=1) as running:
        values, positions = running(x)
    assert torch.equal(values, want.values)
    assert torch.equal(positions, want.indices)
    assert isinstance(program.module()(x), type(want))  # the caller's program still names them


def test_inside_other_results() -> None:
    model = Calls(lambda x: {"best": torch.max(x, 1), "all": [x * 2, (x,)]})
    ep = export(model, (torch.randn(5, 7),)).run_decompositions({})
    leaves = ep.call_spec.out_spec.num_leaves
    assert return_plain_results(ep)
    assert not return_plain_results(ep)
    spec = ep.call_spec.out_spec
    assert spec.num_leaves == leaves == 4
    assert spec.type is dict
    best = spec.child(spec.context.index("best"))
    assert (best.type, best.context) == (dict, ["values", "indices"])


def test_plain_results_stay() -> None:
    ep = export(Calls(lambda x: (x * 2, [x + 1])), (torch.randn(5, 7),)).run_decompositions({})
    before = ep.call_spec.out_spec
    assert not return_plain_results(ep)
    assert ep.call_spec.out_spec == before
