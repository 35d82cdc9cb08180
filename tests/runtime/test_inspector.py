"""ExecuTorch's Inspector on what our delegate logs: source nodes and lines, and values operator by operator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import executorch_ggml
from executorch_ggml import Program, to_edge_rewrite_and_lower

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(8, 16), nn.RMSNorm(16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.a(x))
        waves = torch.sin(self.norm(hidden))  # the line that the sine's event must name
        return self.b(torch.erf(waves))  # erf is not ours: two delegates


@dataclass(frozen=True)
class Exported:
    pte: Path
    record: Path
    x: torch.Tensor


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    torch.manual_seed(0)
    x = torch.randn(5, 8)
    program = torch.export.export(Net().eval(), (x,))
    lowered = to_edge_rewrite_and_lower(program, generate_etrecord=True).to_executorch()
    folder = tmp_path_factory.mktemp("inspector")
    (folder / "net.pte").write_bytes(lowered.buffer)
    record = lowered.get_etrecord()
    record.update_representative_inputs([[x]])
    record.save(str(folder / "net.etrecord"))
    return Exported(folder / "net.pte", folder / "net.etrecord", x)


def executed(inspector: Any) -> list[Any]:
    (block,) = (b for b in inspector.event_blocks if b.name == "Execute")
    return list(block.events)


def test_events_name_their_source(exported: Exported, tmp_path: Path) -> None:
    from executorch.devtools import Inspector

    with Program(exported.pte, threads=1, etdump=True) as program:
        program(exported.x)
        program.write_etdump(tmp_path / "run.etdp")
    inspector = Inspector(
        etdump_path=str(tmp_path / "run.etdp"),
        etrecord=str(exported.record),
        delegate_metadata_parser=lambda raw: {"ggml": [bytes(r).decode() for r in raw]},
    )
    events = [e for e in executed(inspector) if e.is_delegated_op]
    named = [(e.op_types, e.delegate_debug_metadatas["ggml"]) for e in events]
    assert (["aten.sin.default"], ["SIN"]) in named
    # A kernel that does a product and what follows it stands for all of them.
    operators = [op for op, _ in named]
    assert ["aten.linear.default", "aten.relu.default"] in operators
    assert ["aten.linear.default"] in operators
    # Every ggml node has an event of its own, also where an operator takes several.
    assert [m for op, m in named if op == ["aten.rms_norm.default"]] == [["RMS_NORM"], ["MUL"]]
    assert {e.delegate_backend_name for e in events} == {"GgmlBackend"}
    assert all(e.perf_data is not None and e.perf_data.avg >= 0 for e in events)
    (sine,) = (e for e in events if e.op_types == ["aten.sin.default"])
    assert "the sine's event must name" in "".join(_line(s) for s in sine.stack_traces.values())
    # The host's operator and the delegates are in the same record.
    assert [e.name for e in executed(inspector) if e.name == "DELEGATE_CALL"] == ["DELEGATE_CALL"] * 2
    assert any("erf" in e.name for e in executed(inspector))


def _line(trace: str) -> str:
    """The source line that the last frame of a stack trace names."""
    frame = [line.strip() for line in trace.splitlines() if line.strip().startswith('File "')][-1]
    path, _, rest = frame[6:].partition('"')
    return Path(path).read_text().splitlines()[int(rest.partition("line ")[2].partition(",")[0]) - 1]


def test_values_under_the_stock_runtime(exported: Exported, tmp_path: Path) -> None:
    from executorch.devtools import Inspector
    from executorch.runtime import Runtime

    executorch_ggml.register_backend()
    program = Runtime.get().load_program(str(exported.pte), enable_etdump=True, debug_buffer_size=1 << 20)
    program.load_method("forward").execute([exported.x])
    dump, values = tmp_path / "run.etdp", tmp_path / "run.bin"
    program.write_etdump_result_to_file(str(dump), str(values))
    inspector = Inspector(etdump_path=str(dump), etrecord=str(exported.record), debug_buffer_path=str(values))
    delegated = [e for e in executed(inspector) if e.is_delegated_op]
    events = {(*e.op_types, e.debug_handles[0]): e for e in delegated}
    assert len(events) == len(delegated) == 4  # the relu is part of the first product
    # One event and one value for each operator: that is what the Inspector compares.
    assert {k: len(e.debug_data) for k, e in events.items()} == dict.fromkeys(events, 1)
    assert [e.debug_data[0].shape for k, e in events.items() if k[0] == "aten.sin.default"] == [(5, 16)]
    gap = inspector.calculate_numeric_gap("MSE")
    rows = {tuple(names): error for names, error in zip(gap["aot_ops"], gap["gap"], strict=True)}
    wanted = {"linear", "relu", "rms_norm", "sin", "erf"}  # the first product is compared as its relu
    assert wanted <= {name for names in rows for name in map(_operator, names)}, gap
    assert all(0 <= error[0] < 1e-10 for error in rows.values()), gap


def _operator(name: str) -> str:
    """The operator of a node's name, such as ``rms_norm`` of ``aten_rms_norm_default_1``."""
    return name.removeprefix("aten_").removesuffix("_default").rstrip("_0123456789")
