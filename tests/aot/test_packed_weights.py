"""Weights that ExecuTorch's GGUF loader keeps in ggml's blocks: taken as they are, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml import GgmlPartitioner, GgmlQuantConfig, Program, to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import delegates, named_data
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.runtime.types import quantize

pytestmark = pytest.mark.filterwarnings("ignore")

TYPES = ["q4_k", "q5_k", "q6_k"]


def packed(rows: int, elements: int, kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """A random matrix as ExecuTorch's tensor subclass, in blocks made by ggml."""
    gguf = pytest.importorskip("executorch.extension.llm.export.gguf", reason="this ExecuTorch has no GGUF loader")
    pytest.importorskip("gguf")
    data = np.random.default_rng(rows + elements).normal(size=(rows, elements)).astype(np.float32)
    raw = torch.from_numpy(quantize(data, kind).reshape(rows, -1).copy())
    return gguf.ExportableGGUFTensor.from_raw(raw, kind, dtype)


class Language(nn.Module):
    """An embedding, a projection and a head that shares the embedding's bytes."""

    def __init__(self, kind: str, tied: bool = False) -> None:
        super().__init__()
        self.tokens, self.inner = nn.Embedding(40, 256), nn.Linear(256, 512)
        self.down, self.head = nn.Linear(512, 256), nn.Linear(256, 40, bias=False)
        for module in (self.tokens, self.inner, self.down, self.head):
            weight = packed(*module.weight.shape, kind)
            module.weight = nn.Parameter(weight, requires_grad=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.down(torch.relu(self.inner(self.tokens(ids)))))  # type: ignore[no-any-return]


def exported(module: nn.Module, args: tuple[Any, ...], dynamic: Any = None) -> Any:
    """The operator appears when the program is decomposed for the first time, which lowering does."""
    return export(module.eval(), args, dynamic_shapes=dynamic)


def stored(edge: Any) -> dict[str, bytes]:
    found = {}
    for module in delegates(edge.exported_program()).values():
        found.update(named_data(module))
    return found


def weight_types(edge: Any) -> list[int]:
    (module,) = delegates(edge.exported_program()).values()
    return [int(slot.type) for slot in deserialize(module.processed_bytes).weights]


class Rows(nn.Module):
    def __init__(self, weight: Any) -> None:
        super().__init__()
        self.table = nn.Embedding(*weight.shape)
        self.table.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table(ids)  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", TYPES)
def test_rows_are_bit_exact(kind: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = Rows(packed(37, 512, kind, dtype))
    ids = torch.arange(37).reshape(1, 37)
    want = model(ids)
    program = exported(model, (ids,))
    assert "torchao.dequantize_gguf.default" in {str(n.target) for n in program.run_decompositions({}).graph.nodes}
    edge = to_edge_rewrite_and_lower(program)
    assert len(delegates(edge.exported_program())) == 1
    assert list(stored(edge).values()) == [model.table.weight.raw.numpy().tobytes()]  # not a byte was touched
    path = tmp_path / "rows.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        (got,) = running(ids)
    assert got.dtype is dtype
    assert torch.equal(got, want)


@pytest.mark.parametrize("kind", TYPES)
def test_products(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Language(kind).eval()
    ids = torch.randint(0, 40, (2, 7))
    dynamic = ({1: Dim("n", min=1, max=16)},)
    want = {n: model(torch.arange(2 * n).reshape(2, n) % 40) for n in (1, 7, 16)}
    edge = to_edge_rewrite_and_lower(exported(model, (ids,), dynamic))
    assert weight_types(edge).count(GgmlType[kind.upper()]) == 4
    path = tmp_path / "language.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        for n, expected in want.items():
            (got,) = running(torch.arange(2 * n).reshape(2, n) % 40)
            # Products round the activations to 8 bits; the weights are the same.
            assert nmse(got, expected) < 1e-3


def test_read_by_elements_they_are_decoded_when_loaded(tmp_path: Path) -> None:
    """A product with the table itself, and one with its transpose, next to what else may be done to a matrix."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("raw", packed(8, 256, "q5_k").raw)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            table = torch.ops.torchao.dequantize_gguf(self.raw, "q5_k", torch.float32)
            return x * table, x[:, :8] @ table, table[2:5].abs()

    model, x = Scaled().eval(), torch.randn(8, 256)
    want = model(x)
    edge = to_edge_rewrite_and_lower(exported(model, (x,)))
    assert len(delegates(edge.exported_program())) == 1
    path = tmp_path / "scaled.pte"
    path.write_bytes(edge.to_executorch().buffer)
    with Program(path, threads=1) as running:
        got = running(x)
    assert torch.equal(got[0], want[0])
    torch.testing.assert_close(got[1], want[1], rtol=1e-5, atol=1e-5)
    assert torch.equal(got[2], want[2])


def test_tied_bytes_are_stored_once() -> None:
    edge = to_edge_rewrite_and_lower(exported(Language("q4_k", tied=True), (torch.randint(0, 40, (1, 5)),)))
    sizes = [len(data) for key, data in stored(edge).items() if key.endswith("#q4_k")]
    assert sorted(sizes) == [40 * 144, 256 * 288, 512 * 144]


def test_quant_leaves_them_alone() -> None:
    program = exported(Language("q6_k"), (torch.randint(0, 40, (1, 5)),))
    edge = to_edge_rewrite_and_lower(program, partitioner=GgmlPartitioner(quant=GgmlQuantConfig("Q4_0")))
    assert weight_types(edge).count(GgmlType.Q6_K) == 4
