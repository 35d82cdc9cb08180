#!/usr/bin/env python3
"""Models quantised by torchao and PT2E: share of operators on ggml, number of delegates, error against their own eager.

python benchmarks/quantised_models.py
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.explain import explain
from executorch_ggml.analysis.nmse import nmse


class Mlp(nn.Module):
    """The feed-forward part of a small transformer: widths that are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(512, 1536), nn.Linear(1536, 512)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.down(nn.functional.gelu(self.up(x)))
        return result


class Cnn(nn.Module):
    """Convolution, batch norm, ReLU, average, head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return result


def torchao_models() -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    """(configuration, quantised module, example inputs)."""
    from torchao import quantization as q
    from torchao.quantization.granularity import PerGroup
    from torchao.quantization.quant_primitives import MappingType

    group = PerGroup(32)
    configs: dict[str, Any] = {
        "IntxWeightOnly int8, groups of 32": q.IntxWeightOnlyConfig(torch.int8, group),
        "IntxWeightOnly int4, groups of 32": q.IntxWeightOnlyConfig(torch.int4, group),
        "IntxWeightOnly int4, asymmetric": q.IntxWeightOnlyConfig(
            torch.int4, group, mapping_type=MappingType.ASYMMETRIC
        ),
        "Int8WeightOnly": q.Int8WeightOnlyConfig(),
        "Int8DynamicActivationIntxWeight int4": q.Int8DynamicActivationIntxWeightConfig(torch.int4, group),
        "Int8DynamicActivationInt8Weight": q.Int8DynamicActivationInt8WeightConfig(),
    }
    for name, config in configs.items():
        torch.manual_seed(0)
        module = Mlp().eval()
        q.quantize_(module, config)
        yield name, module, (torch.randn(7, 512),)


def pt2e_models() -> Iterator[tuple[str, nn.Module, tuple[Tensor, ...]]]:
    """(configuration, quantised graph module, example inputs), with ExecuTorch's quantizer for XNNPACK."""
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as x
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    for name, module, args, config in (
        ("PT2E static, MLP", Mlp(), (torch.randn(7, 512),), {}),
        ("PT2E dynamic, per channel, MLP", Mlp(), (torch.randn(7, 512),), {"is_per_channel": True, "is_dynamic": True}),
        ("PT2E static, per channel, CNN", Cnn(), (torch.randn(2, 3, 16, 16),), {"is_per_channel": True}),
    ):
        exported = torch.export.export(module.eval(), args)
        quantizer = x.XNNPACKQuantizer().set_global(x.get_symmetric_quantization_config(**config))
        prepared = prepare_pt2e(exported.module(), quantizer)
        prepared(*args)
        yield name, convert_pt2e(prepared), args


def main() -> None:
    warnings.simplefilter("ignore")
    print("| configuration | operators on ggml | delegates | NMSE against its own eager |")
    print("|---|---|---|---|")
    for name, module, args in (*torchao_models(), *pt2e_models()):
        with torch.no_grad():
            want = module(*args)
        program = torch.export.export(module, args)
        report = explain(program)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m.pte"
            path.write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
            with Program(path) as running:
                error = nmse(running(*args)[0], want.numpy())
        share = f"{report.delegated} of {len(report.nodes)}"
        print(f"| {name} | {share} | {len(report.partitions)} | {error:.1e} |")


if __name__ == "__main__":
    main()
