"""The usual way: export, to_edge_transform_and_lower, the stock ExecuTorch runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner, to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates
from executorch_ggml.ir.dump import dump

pytestmark = pytest.mark.filterwarnings("ignore")


def run_stock(buffer: bytes, path: Path, *inputs: torch.Tensor) -> Any:
    """ExecuTorch's own runtime, which knows nothing of us but the registered backend."""
    from executorch.runtime import Runtime

    from executorch_ggml.runtime.register import register_backend

    register_backend()
    path.write_bytes(buffer)
    return Runtime.get().load_program(path).load_method("forward").execute(list(inputs))


@pytest.mark.parametrize("activation", [nn.LeakyReLU(0.2), nn.ReLU()])
def test_mlp_under_the_stock_runtime(activation: nn.Module, tmp_path: Path) -> None:
    from executorch.exir import to_edge_transform_and_lower

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 32), activation, nn.Linear(32, 5), activation).eval()
    n = Dim("n", min=1, max=16)
    program = export(model, (torch.randn(4, 12),), dynamic_shapes=({0: n},))
    edge = to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner()])
    assert len(delegates(edge.exported_program())) == 1
    buffer = edge.to_executorch().buffer
    for size in (1, 4, 7, 16):
        x = torch.randn(size, 12)
        (got,) = run_stock(buffer, tmp_path / "mlp.pte", x)
        torch.testing.assert_close(got, model(x), rtol=1e-5, atol=1e-5)


def test_host_and_delegates_together_under_the_stock_runtime(tmp_path: Path) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(3):
                x = x + self.b(torch.erf(self.a(x)))
            return x

    torch.manual_seed(0)
    model, x = Mixed().eval(), torch.randn(5, 6)
    edge = to_edge_rewrite_and_lower(export(model, (x,)), partitioner=[GgmlPartitioner()])
    assert len(delegates(edge.exported_program())) == 4
    (got,) = run_stock(edge.to_executorch().buffer, tmp_path / "mixed.pte", x)
    torch.testing.assert_close(got, model(x), rtol=1e-5, atol=1e-5)


def test_passes_over_programs_run_first_and_in_order() -> None:
    seen = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, ep: Any) -> Any:
            seen.append((self.name, any("linear" in str(n.target) for n in ep.graph.nodes)))
            return ep

    def plain(ep: Any) -> None:
        seen.append(("plain", True))

    model = nn.Linear(4, 4).eval()
    program = export(model, (torch.randn(2, 4),))
    edge = to_edge_rewrite_and_lower(program, ep_passes=[Named("a"), Named("b"), plain])
    assert seen == [("a", True), ("b", True), ("plain", True)]
    # Operators that the partitioner wants whole arrive whole.
    (module,) = delegates(edge.exported_program()).values()
    assert "MulMat" in dump(module.processed_bytes)
    with pytest.raises(TypeError, match="not an ExportedProgram"):
        to_edge_rewrite_and_lower(program, ep_passes=[lambda ep: 3])
    with pytest.raises(TypeError, match="no pass"):
        to_edge_rewrite_and_lower(program, ep_passes=[object()])


def test_multiple_methods() -> None:
    model = nn.Linear(4, 4).eval()
    programs = {"prefill": export(model, (torch.randn(8, 4),)), "decode": export(model, (torch.randn(1, 4),))}
    edge = to_edge_rewrite_and_lower(programs, constant_methods={"get_size": 4})
    assert sorted(edge.methods) == ["decode", "prefill"]
    assert len(edge.to_executorch().buffer) < 8000


def test_debug_handles_reach_the_payload() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    edge = to_edge_rewrite_and_lower(export(model, (torch.randn(2, 4),)))
    (module,) = delegates(edge.exported_program()).values()
    assert module.meta["debug_handle_map"]
    assert "  #" in dump(module.processed_bytes)


def test_operators_beyond_the_core_set(tmp_path: Path) -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return nn.functional.adaptive_max_pool2d(x, (2, 3)), x.flatten(1).median(1).values

    x = torch.randn(2, 3, 5, 7)
    edge = to_edge_rewrite_and_lower(export(Net().eval(), (x,)))
    assert len(delegates(edge.exported_program())) == 1
    for got, want in zip(run_stock(edge.to_executorch().buffer, tmp_path / "m.pte", x), Net()(x), strict=True):
        assert torch.equal(got, want)
