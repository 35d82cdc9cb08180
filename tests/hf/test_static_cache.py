"""Hugging Face decoders with a static cache, through the ordinary calls, under ExecuTorch's own runtime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hf_models import CACHE_ROWS, MODELS, build, eager_logits, export_static

from executorch_ggml.ir.graph import KV_CACHE
from executorch_ggml.ir.serialize import deserialize

pytestmark = pytest.mark.filterwarnings("ignore")


# Hugging Face's own recipe exports with strict=True; without it the cache's tensors come in under two names.
PARAMETERS = [
    pytest.param(("qwen3", True), id="qwen3"),
    pytest.param(("llama", False), id="llama"),
    pytest.param(("gemma3", False), id="gemma3"),
    *(pytest.param((name, False), id=name, marks=pytest.mark.slow) for name in ("phi3", "qwen2", "smollm3")),
]


def test_every_model_is_tested() -> None:
    assert {p.values[0][0] for p in PARAMETERS} == set(MODELS)


@pytest.fixture(scope="module", params=PARAMETERS)
def lowered(request: pytest.FixtureRequest) -> tuple[str, Any, Any, Any]:
    """(name, eager model, edge program, partitioner)."""
    from executorch.exir import to_edge_transform_and_lower

    from executorch_ggml import GgmlPartitioner

    name, strict = request.param
    model = build(name)
    partitioner = GgmlPartitioner()
    edge = to_edge_transform_and_lower(export_static(model, strict=strict), partitioner=[partitioner])
    return name, model, edge, partitioner


@pytest.fixture(scope="module")
def pte(lowered: tuple[str, Any, Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of it; ExecuTorch makes one of an edge program only once."""
    path = tmp_path_factory.mktemp("hf") / f"{lowered[0]}.pte"
    path.write_bytes(lowered[2].to_executorch().buffer)
    return path


def calls(edge: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for node in edge.exported_program().graph.nodes:
        if node.op == "call_function":
            found[getattr(node.target, "__name__", str(node.target))] += 1
    return found


def sequences() -> list[list[int]]:
    """How a sequence is cut into calls: prefills of several lengths, single tokens, chunks in the middle."""
    return [[5, 1, 1, 1], [1, 1, 1], [2, 17, 1, 9, 1], [CACHE_ROWS - 1, 1], [31, 16, 1]]


def small_ids(length: int) -> torch.Tensor:
    """1, 2, 3, ...: ids that could pass for positions."""
    return (torch.arange(length) % 20 + 1)[None]


FP16_CACHE = 2e-3
"""Of the largest logit. Keys and values are rounded to 11 bits; without that rounding 1e-4 holds."""


def check(step: Any, reset: Any, model: Any, tolerance: float = FP16_CACHE) -> None:
    for cuts in sequences():
        total = sum(cuts)
        ids = small_ids(total)
        expected = eager_logits(model, ids)
        scale = expected.abs().max().item()
        reset()
        at = 0
        for length in cuts:
            got = step(ids[:, at : at + length].contiguous(), torch.arange(at, at + length))
            assert got.shape == (1, length, expected.shape[-1])
            error = (got - expected[:, at : at + length]).abs().max().item()
            assert error <= tolerance * scale, f"{cuts} at {at}: {error:.2e} of {scale:.2f}"
            if tolerance < FP16_CACHE:
                assert torch.equal(got.argmax(-1), expected[:, at : at + length].argmax(-1))
            at += length


def test_one_delegate_and_hardly_anything_else(lowered: tuple[str, Any, Any, Any]) -> None:
    name, model, edge, _ = lowered
    found = calls(edge)
    assert found["executorch_call_delegate"] == 1
    # What stays: the positions, and the counter that each layer of Hugging Face's cache keeps.
    layers = model.config.num_hidden_layers
    host = sum(n for op, n in found.items() if op not in ("executorch_call_delegate", "getitem"))
    assert host == 4 + 3 * layers, (name, found)


def test_reasons_for_what_stays(lowered: tuple[str, Any, Any, Any]) -> None:
    _, _, _, partitioner = lowered
    left = {str(node): reason for node, reason in partitioner.decisions.reasons.items() if reason}
    assert left
    assert all("int" in r or "size" in r or "no lowering" in r for r in left.values()), left


def test_patterns_fired(lowered: tuple[str, Any, Any, Any]) -> None:
    from executorch_ggml.analysis.reference import delegates

    _, model, edge, _ = lowered
    (module,) = delegates(edge.exported_program()).values()
    ops = operators(module.processed_bytes)
    layers = model.config.num_hidden_layers
    rotated = sum(bool(x) for x in getattr(model.config, "no_rope_layers", None) or [1] * layers)
    assert [state.kind for state in deserialize(module.processed_bytes).states] == [KV_CACHE] * 2 * layers
    assert ops["FlashAttn"] == layers
    assert ops["Rope"] == 2 * rotated
    assert ops["SetRows"] == 2 * layers
    assert ops["RmsNorm"] >= 2 * layers + 1
    windows = 2 if name_has_windows(model) else 1
    assert ops["CausalMask"] == windows
    assert ops["Repeat"] == 0
    if model.config.model_type != "gemma3_text":
        assert ops["Glu"] == layers


def name_has_windows(model: Any) -> bool:
    return len(set(getattr(model.config, "layer_types", None) or [1])) > 1


def operators(payload: bytes) -> Counter[str]:
    return Counter(type(node.op).__name__.removesuffix("T") for node in deserialize(payload).nodes)


def test_equals_eager_on_the_reference_interpreter(lowered: tuple[str, Any, Any, Any]) -> None:
    from executorch_ggml.analysis.reference import ReferenceExecutor

    _, model, edge, _ = lowered
    box: dict[str, Any] = {}

    def reset() -> None:
        box["run"] = ReferenceExecutor(edge.exported_program())

    check(lambda ids, positions: box["run"](ids, positions)[0], reset, model)


def test_equals_eager_under_the_stock_runtime(lowered: tuple[str, Any, Any, Any], pte: Path) -> None:
    from executorch.runtime import Runtime, Verification

    from executorch_ggml import register_backend

    register_backend()
    _, model, _, _ = lowered
    runtime = Runtime.get()
    box: dict[str, Any] = {}

    def reset() -> None:
        box["method"] = runtime.load_program(str(pte), verification=Verification.Minimal).load_method("forward")

    def step(ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        return box["method"].execute((ids, positions))[0].clone()

    check(step, reset, model)


def test_equals_eager_with_a_cache_of_float32(lowered: tuple[str, Any, Any, Any], pte: Path) -> None:
    from executorch_ggml import Program

    _, model, _, _ = lowered
    with Program(pte, threads=1, cache_type="f32") as program:
        check(lambda ids, positions: program(ids, positions)[0], program.reset, model, tolerance=1e-4)


def test_attention_that_is_written_out(tmp_path: Path) -> None:
    """`attn_implementation="eager"`: products, a mask of floats and a softmax become attention over the same cache."""
    from executorch_ggml import Program, to_edge_rewrite_and_lower

    model = build("qwen3")
    model.config._attn_implementation = "eager"
    edge = to_edge_rewrite_and_lower(export_static(model))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1, cache_type="f32") as program:
        check(lambda ids, positions: program(ids, positions)[0], program.reset, model, tolerance=1e-4)
        states = [s["kind"] for s in program.info()["states"] if s["owner"] == "delegate"]
        assert states == ["kv_cache"] * 2 * model.config.num_hidden_layers
