"""Weights quantised at export: accuracy, size, and which ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from benchmarks.quantization_models import classifier, mlp
from executorch_ggml import GgmlPartitioner, GgmlQuantConfig, to_edge_rewrite_and_lower
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import ReferenceExecutor, delegates, named_data
from executorch_ggml.aot.quantization import QUANT_TYPES
from executorch_ggml.errors import GgmlError, InvalidArgumentError
from executorch_ggml.ir.types import GgmlType

pytestmark = pytest.mark.filterwarnings("ignore")

# Per type: bits a weight, and a bound on the normalised squared error of the two networks below (in float they stay
# under 1e-12). Each bound is below what the next coarser type gives; the two types of four bits are too close for that.
TYPES = {
    "F16": (16.0, 5e-7),
    "BF16": (16.0, 3e-5),
    "Q8_0": (8.5, 2.5e-4),
    "Q6_K": (6.5625, 9e-4),
    "Q5_K": (5.5, 3e-3),
    "Q4_K": (4.5, 1e-2),
    "Q4_0": (4.5, 1.5e-2),
}


def lower(model: nn.Module, x: torch.Tensor, quant: GgmlQuantConfig | None) -> Any:
    return to_edge_rewrite_and_lower(export(model, (x,)), quant=quant)


def data_of(edge: Any) -> dict[str, int]:
    """Bytes of each entry of the named data."""
    found = {}
    for module in delegates(edge.exported_program()).values():
        found.update({key: len(data) for key, data in named_data(module).items()})
    return found


def run_stock(edge: Any, path: Path, *inputs: torch.Tensor) -> torch.Tensor:
    from executorch.runtime import Runtime

    from executorch_ggml.runtime.register import register_backend

    register_backend()
    path.write_bytes(edge.to_executorch().buffer)
    result: torch.Tensor = Runtime.get().load_program(path).load_method("forward").execute(list(inputs))[0]
    return result.clone()


def test_every_type_is_tested() -> None:
    assert set(TYPES) == set(QUANT_TYPES)


@pytest.mark.parametrize("make", [mlp, classifier])
@pytest.mark.parametrize("kind", TYPES)
def test_error_and_size_under_the_stock_runtime(
    kind: str, make: Callable[[], tuple[nn.Module, torch.Tensor]], tmp_path: Path
) -> None:
    model, x = make()
    bits, bound = TYPES[kind]
    plain, small = lower(model, x, None), lower(model, x, GgmlQuantConfig(kind))
    with torch.no_grad():
        want = model(x)
    error = nmse(run_stock(small, tmp_path / "small.pte", x), want)
    assert 1e-9 < error < bound  # the lower limit: it was quantised at all
    # The interpreter, on the same bytes decoded, does without what kernels add (they round activations to 8 bits).
    (decoded,) = ReferenceExecutor(small.exported_program())(x)
    assert nmse(decoded, want) < bound
    before, after = data_of(plain), data_of(small)
    matrices = {k: n for k, n in before.items() if f"{k}#{kind.lower()}" in after}
    assert len(matrices) == (2 if make is mlp else 6)
    for key, count in matrices.items():
        assert after[f"{key}#{kind.lower()}"] == count * bits / 32
    kept = set(before) - set(matrices)
    assert kept == set(after) - {f"{k}#{kind.lower()}" for k in matrices}
    assert all(before[k] == after[k] for k in kept)
    saved = sum(matrices.values()) * (1 - bits / 32)
    shrunk = len(plain.to_executorch().buffer) - len(small.to_executorch().buffer)
    assert shrunk == pytest.approx(saved, abs=8192)


def test_patterns_and_sizes_keep_weights() -> None:
    model, x = classifier()
    everything = data_of(lower(model, x, GgmlQuantConfig("q8_0")))
    some = data_of(lower(model, x, GgmlQuantConfig("q8_0", skip=["head.*", "layer.linear?.weight"])))
    assert {k for k in everything if k not in some} == {
        "head.weight#q8_0",
        "layer.linear1.weight#q8_0",
        "layer.linear2.weight#q8_0",
    }
    assert {"head.weight", "layer.linear1.weight", "layer.linear2.weight"} <= set(some)
    big = data_of(lower(model, x, GgmlQuantConfig("q8_0", minimum_size=300 * 256)))
    assert {"tokens.weight#q8_0", "layer.self_attn.out_proj.weight", "head.weight"} <= set(big)


@pytest.mark.parametrize(("columns", "want"), [(256, "q4_k"), (96, "q8_0"), (40, None)])
def test_rows_that_do_not_divide(columns: int, want: str | None) -> None:
    torch.manual_seed(0)
    edge = lower(nn.Linear(columns, 64, bias=False).eval(), torch.randn(2, columns), GgmlQuantConfig("q4_k"))
    assert list(data_of(edge)) == [f"weight#{want}" if want else "weight"]


def test_a_table_that_is_also_a_matrix(tmp_path: Path) -> None:
    """Tied embedding and head share one entry; a weight that is also read element by element stays."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.other = nn.Embedding(64, 64), nn.Linear(64, 64)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.other(self.table(ids)) + self.other.weight
            return x @ self.table.weight.T

    torch.manual_seed(0)
    model, ids = Tied().eval(), torch.arange(64)[None]
    edge = lower(model, ids, GgmlQuantConfig("q8_0"))
    assert set(data_of(edge)) == {"table.weight#q8_0", "other.weight", "other.bias"}
    error = nmse(run_stock(edge, tmp_path / "tied.pte", ids), model(ids))
    assert 1e-9 < error < 1e-3


def test_products_with_a_transposed_parameter_and_convolutions(tmp_path: Path) -> None:
    """GPT-2's weights lie as [in, out]: the copy that lowering turns round is what is quantised."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 8, 3, padding=1)
            self.weight = nn.Parameter(torch.randn(64, 96))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).flatten(2) @ self.weight

    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(1, 4, 8, 8)
    edge = lower(model, x, GgmlQuantConfig("q8_0", minimum_size=0))
    assert set(data_of(edge)) == {"conv.weight#f16", "conv.bias", "weight#t#q8_0"}
    error = nmse(run_stock(edge, tmp_path / "net.pte", x), model(x))
    assert 1e-9 < error < 1e-3
    assert "weight#t" in data_of(lower(model, x, GgmlQuantConfig("q8_0", skip=["weight"])))


def test_kernels_of_convolutions_become_halves(tmp_path: Path) -> None:
    """Dense ones only, on our kernels and on ggml's alike; a kernel that something else reads, too, stays."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.pointwise = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 1)
            self.depthwise, self.shared = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.depthwise(torch.relu(self.dense(x)))
            y = self.shared(y)
            return self.pointwise(y) + (self.shared.weight * y.mean()).sum()

    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(2, 8, 9, 7)
    for kind in ("f16", "q4_k"):
        edge = lower(model, x, GgmlQuantConfig(kind, minimum_size=0))
        kernels = {name for name in data_of(edge) if "bias" not in name}
        assert kernels == {"dense.weight#f16", "pointwise.weight#f16", "depthwise.weight", "shared.weight"}
        error = nmse(run_stock(edge, tmp_path / "net.pte", x), model(x))
        assert 1e-10 < error < 1e-5
    kept = data_of(lower(model, x, GgmlQuantConfig("bf16", minimum_size=0)))
    assert {"dense.weight", "pointwise.weight"} < set(kept)


def test_dynamic_rows_and_the_usual_entry(tmp_path: Path) -> None:
    from executorch.exir import to_edge_transform_and_lower

    model, x = mlp()
    program = export(model, (x,), dynamic_shapes=({0: Dim("n", min=1, max=32)},))
    edge = to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner(quant=GgmlQuantConfig("q6_k"))])
    for rows in (1, 7, 32):
        x = torch.randn(rows, 256)
        assert nmse(run_stock(edge, tmp_path / f"{rows}.pte", x), model(x)) < TYPES["Q6_K"][1]


def test_halves_stay_where_nothing_is_gained_or_values_do_not_fit() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64)
    half = nn.Linear(64, 64, bias=False).half()
    assert list(data_of(lower(half, x.half(), GgmlQuantConfig("bf16")))) == ["weight"]
    assert list(data_of(lower(half, x.half(), GgmlQuantConfig("q8_0")))) == ["weight#q8_0"]
    large = nn.Linear(64, 64, bias=False)
    with torch.no_grad():
        large.weight[3, 3] = 1e6
    assert list(data_of(lower(large, x, GgmlQuantConfig("f16")))) == ["weight"]


def test_what_is_refused() -> None:
    for bad in ("q3_k", "f32", "int8", "", GgmlType.Q4_1):
        with pytest.raises(InvalidArgumentError, match="Q4_K"):
            GgmlQuantConfig(bad)
    assert issubclass(InvalidArgumentError, GgmlError)
    with pytest.raises(InvalidArgumentError, match="sequence"):
        GgmlQuantConfig("q8_0", skip="head.*")
    with pytest.raises(InvalidArgumentError, match="elements"):
        GgmlQuantConfig("q8_0", minimum_size=-1)
    with pytest.raises(InvalidArgumentError, match="GGUF"):
        GgmlPartitioner(weights="external", quant=GgmlQuantConfig())
    model, x = mlp()
    with pytest.raises(InvalidArgumentError, match="partitioner"):
        to_edge_rewrite_and_lower(export(model, (x,)), partitioner=GgmlPartitioner(), quant=GgmlQuantConfig())


def test_native_code_is_loaded_for_block_types_only(run_python: Callable[[str], str]) -> None:
    out = run_python("""
import os, torch
from executorch_ggml import GgmlQuantConfig, to_edge_rewrite_and_lower
from executorch_ggml.errors import LibraryError
os.environ["EXECUTORCH_GGML_LIBRARY"] = "/nowhere/libexecutorch_ggml.so"
program = torch.export.export(torch.nn.Linear(64, 64).eval(), (torch.randn(2, 64),))
for kind in ("F16", "BF16", "Q8_0"):
    try:
        to_edge_rewrite_and_lower(program, quant=GgmlQuantConfig(kind))
        print(kind, "ok")
    except LibraryError as error:
        print(kind, "/nowhere" in str(error) and "weight to Q8_0" in str(error))
""")
    assert out.split() == ["F16", "ok", "BF16", "ok", "Q8_0", "True"]
