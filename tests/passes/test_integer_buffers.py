"""Integer buffers of any size decide at export whether what reads them is delegated."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import export
from torch.export.graph_signature import InputKind

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates
from executorch_ggml.aot.passes import keep_integers_visible, run_pre_decomposition

pytestmark = pytest.mark.filterwarnings("ignore")


class Bias(nn.Module):
    """A table of relative positions, looked up by a buffer of 19 kB, as in a Swin transformer."""

    def __init__(self, heads: int = 12) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(169, heads))
        self.register_buffer("places", torch.randint(0, 169, (2401,)))
        self.register_buffer("seen", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("offset", torch.randn(heads, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.offset + self.table[self.places].view(49, 49, -1).permute(2, 0, 1).contiguous().unsqueeze(0)


class Counts(Bias):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return super().forward(x)


def persistent(ep: torch.export.ExportedProgram) -> dict[str, bool]:
    specs = [s for s in ep.graph_signature.input_specs if s.kind is InputKind.BUFFER]
    return {str(s.target): bool(s.persistent) for s in specs}


def test_only_constant_integers_move() -> None:
    ep = export(Counts().eval(), (torch.randn(1, 12, 49, 49),))
    before = persistent(ep)
    rewritten = ep.run_decompositions({})
    assert keep_integers_visible(rewritten)
    assert persistent(rewritten) == {"places": False, "seen": True, "offset": True}
    assert "places" in rewritten.constants
    assert "places" not in rewritten.state_dict
    assert not keep_integers_visible(rewritten)
    assert persistent(ep) == before
    assert "places" in ep.state_dict  # the caller's program keeps its dictionaries


def test_the_callers_program_is_not_changed() -> None:
    ep = export(Bias().eval(), (torch.randn(1, 12, 49, 49),))
    run_pre_decomposition(ep)
    assert persistent(ep)["places"]
    assert "places" in ep.state_dict
    assert "places" not in ep.constants


@pytest.mark.parametrize("model", [Bias(), Counts()], ids=["constant", "beside a counter"])
def test_a_large_lookup_is_delegated(model: Bias, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 12, 49, 49)
    partitioner = GgmlPartitioner()
    edge = to_edge_rewrite_and_lower(export(model.eval(), (x,)), partitioner=partitioner)
    assert len(delegates(edge.exported_program())) == 1
    assert partitioner.decisions is not None
    left = {n.name: reason for n, reason in partitioner.decisions.reasons.items() if reason}
    assert not [name for name in left if "index" in name], left
    path = tmp_path / "bias.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as program:
        assert torch.equal(program(x)[0], model(x))


def test_positions_outside_their_table_stay_with_torch() -> None:
    """The loader would refuse the whole program."""
    model = Bias().eval()
    model.places[7] = 169
    partitioner = GgmlPartitioner()
    to_edge_rewrite_and_lower(export(model, (torch.randn(1, 12, 49, 49),)), partitioner=partitioner)
    assert partitioner.decisions is not None
    reasons = {n.name: reason for n, reason in partitioner.decisions.reasons.items()}
    assert any("outside" in reason for reason in reasons.values()), reasons
