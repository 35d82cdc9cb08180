"""Models quantised by torchao and PT2E, against their own eager."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.quantised_models import Mlp, pt2e_models, torchao_models
from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.aot.lowered_program import delegates

pytest.importorskip("torchao")
pytestmark = pytest.mark.filterwarnings("ignore")


def error(path: Path, program: torch.export.ExportedProgram, module: nn.Module, *calls: tuple[Tensor, ...]) -> float:
    edge = to_edge_rewrite_and_lower(program)
    assert delegates(edge.exported_program())
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running, torch.no_grad():
        return max(nmse(running(*args)[0], module(*args).detach().numpy()) for args in calls)


def test_all_configurations(tmp_path: Path) -> None:
    for name, module, args in (*torchao_models(), *pt2e_models()):
        program = torch.export.export(module, args)
        assert error(tmp_path / "m.pte", program, module, args) < 1e-11, name


def test_a_dynamic_batch(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    for name, module, args in torchao_models():
        if "Int8DynamicActivationInt8" in name or name == "Int8WeightOnly":
            continue  # torch's own export makes the batch a constant
        program = torch.export.export(module, args, dynamic_shapes=({0: batch},), strict=False)
        calls = [(torch.randn(n, 512) * 3.0,) for n in (1, 7, 64)]
        # An activation halfway between two integers may become the other one: 1/256 of its range.
        assert error(tmp_path / "m.pte", program, module, *calls) < 1e-6, name


def test_folded_weights_can_be_quantised_again(tmp_path: Path) -> None:
    """Weights keep the name that the module has for them, which `quant` asks for."""
    from executorch_ggml import GgmlPartitioner, GgmlQuantConfig

    _, module, args = next(torchao_models())
    program = torch.export.export(module, args)
    edge = to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner(quant=GgmlQuantConfig("q8_0")))
    path = tmp_path / "m.pte"
    path.write_bytes(edge.to_executorch().buffer)
    assert path.stat().st_size < 0.3 * sum(p.numel() for p in Mlp().parameters()) * 4
    with Program(path, threads=1) as running, torch.no_grad():
        assert nmse(running(*args)[0], module(*args).numpy()) < 1e-4


class Integers(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.register_buffer("w", torch.randint(-128, 128, (inner, 5), dtype=torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return torch._int_mm(x, self.w)


@pytest.mark.parametrize("inner", [8, 512, 2048, 3000])
def test_products_of_integers_are_exact(inner: int, tmp_path: Path) -> None:
    """Sums beyond 2^24 are put together from parts that float32 holds."""
    module = Integers(inner).eval()
    x = torch.full((20, inner), -128, dtype=torch.int8)
    x[1:] = torch.randint(-128, 128, (19, inner), dtype=torch.int8)
    module.w[:, 0] = -128
    edge = to_edge_rewrite_and_lower(torch.export.export(module, (x,)))
    path = tmp_path / "m.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        assert torch.equal(torch.as_tensor(running(x)[0]), module(x))
