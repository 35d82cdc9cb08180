"""Environment variables and options that change how a program runs, but never what it computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import BindError, InvalidArgumentError
from executorch_ggml.runtime.program import Program
from tests.conftest import Mlp, TinyLlm

pytest.importorskip("torch")

PRODUCTS = ("MUL_MAT", "LINEAR")
"""A matrix product of floats: ggml's kernel, or ours where the CPU has the instructions."""


def inputs(*rows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal((n, 8)).astype(np.float32) for n in rows]


def run(program: Program, xs: list[np.ndarray]) -> list[np.ndarray]:
    return [np.array(program(x)[0]) for x in xs]


def test_plans_are_reused_and_bounded(mlp: Mlp) -> None:
    with Program(mlp.pte, threads=1, max_plans=3) as program:
        xs = inputs(*range(1, 17))
        want = [mlp.reference(x) for x in xs]
        for _ in range(2):
            for got, expected in zip(run(program, xs), want, strict=True):
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
        assert program.info()["plans"]["count"] == 3
        before = program.stats()
        run(program, [xs[-1]] * 5)
        after = program.stats()
        assert after["plan_misses"] == before["plan_misses"]
        assert after["plan_hits"] == before["plan_hits"] + 5


def test_memory_of_many_lengths_is_bounded(mlp: Mlp) -> None:
    with Program(mlp.pte, threads=1, max_plans=2) as program:
        xs = inputs(*range(1, 17))
        run(program, xs)
        first = program.info()
        for _ in range(50):
            run(program, xs)
        last = program.info()
        assert (last["arena_bytes"], last["plans"]) == (first["arena_bytes"], first["plans"])


def test_forms_of_other_devices(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTORCH_GGML_FORMS", "cuda")
    with Program(mlp.pte, threads=1, profile=True) as program:
        (x,) = inputs(5)
        np.testing.assert_allclose(run(program, [x])[0], mlp.reference(x), rtol=1e-5, atol=1e-5)
        assert "LINEAR" not in {op["op"] for op in program.stats()["ops"]}  # the CPU's own kernel


def test_no_graph_cache(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GGML_NO_GRAPH_CACHE", "1")
    (x,) = inputs(5)
    with Program(mlp.pte, threads=1) as program:
        run(program, [x] * 4)
        assert program.stats()["plan_hits"] == 0
        np.testing.assert_allclose(program(x)[0], mlp.reference(x), rtol=1e-5, atol=1e-5)


def test_skip_output_copy(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    xs = inputs(1, 16, 3, 16, 2)
    with Program(mlp.pte, threads=1) as program:
        want = run(program, xs)
    monkeypatch.setenv("GGML_SKIP_OUTPUT_COPY", "1")
    with Program(mlp.pte, threads=1) as program:
        for got, expected in zip(run(program, xs), want, strict=True):
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_profile(mlp: Mlp, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    if by == "environment":
        monkeypatch.setenv("GGML_PROFILE", "1")
    (x,) = inputs(4)
    with Program(mlp.pte, threads=1, profile=True if by == "option" else None) as program:
        np.testing.assert_allclose(program(x)[0], mlp.reference(x), rtol=1e-5, atol=1e-5)
        ops = program.stats()["ops"]
    assert sorted(op["detail"] for op in ops if op["op"] in PRODUCTS) == ["f32 32x4", "f32 8x32"]
    assert all(op["count"] > 0 and op["ns"] > 0 and op["bytes"] > 0 for op in ops)


def test_debug_dump(mlp: Mlp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GGML_DEBUG_DUMP", str(tmp_path / "dump.txt"))
    with Program(mlp.pte, threads=1) as program:
        run(program, inputs(7, 3, 7))
    text = (tmp_path / "dump.txt").read_text()
    assert text.count("# symbols:") == 2  # one for each plan, not for each call
    assert "=3" in text
    assert "=7" in text
    assert any(f"{name} f32 ne=[4,7,1,1]" in text for name in PRODUCTS)


def test_perf_log(mlp: Mlp, run_python: Callable[[str], str]) -> None:
    out = run_python(f"""
import logging, os, sys
os.environ["GGML_PERF_LOG"] = "1"
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(message)s")
import numpy as np
from executorch_ggml.runtime.program import Program
Program({str(mlp.pte)!r}, threads=1)(np.zeros((2, 8), np.float32))
""")
    assert "compute" in next(line for line in out.splitlines() if "perf " in line)


@pytest.mark.parametrize(("cache_type", "bound"), [("f16", 1e-5), ("bf16", 1e-3), ("q8_0", 1e-3), ("q4_0", 5e-2)])
def test_cache_types(tiny_llm: TinyLlm, cache_type: str, bound: float) -> None:
    ids, positions = np.arange(1, 21)[None], np.arange(20)

    def logits(kind: str) -> tuple[Any, Any]:
        with Program(tiny_llm.pte, tiny_llm.gguf, threads=1, cache_type=kind) as program:
            program.execute("forward", [ids[:, :19], positions[:19]])
            (out,) = program.execute("forward", [ids[:, 19:], positions[19:]])
            return np.array(out, np.float64), program.info()

    want, exact = logits("f32")
    got, info = logits(cache_type)
    assert info["cache_type"] == cache_type
    assert {state["type"] for state in info["states"]} == {cache_type}
    assert sum(s["bytes"] for s in info["states"]) < sum(s["bytes"] for s in exact["states"])
    assert 0 < nmse(got, want) < bound


def test_etdump(mlp: Mlp, tmp_path: Path) -> None:
    (x,) = inputs(4)
    with Program(mlp.pte, threads=1, etdump=True) as program:
        np.testing.assert_allclose(program(x)[0], mlp.reference(x), rtol=1e-5, atol=1e-5)
        program.write_etdump(tmp_path / "run.etdump")
        program(x)  # and recording goes on
        program.write_etdump(tmp_path / "more.etdump")
    from executorch.devtools import Inspector

    for name in ("run.etdump", "more.etdump"):
        inspector = Inspector(
            etdump_path=str(tmp_path / name), delegate_metadata_parser=lambda raw: {"ops": [bytes(r) for r in raw]}
        )
        (block,) = (b for b in inspector.event_blocks if b.name == "Execute")
        ops = [op for e in block.events if e.is_delegated_op for op in e.delegate_debug_metadatas["ops"]]
        assert sum(ops.count(name.encode()) for name in PRODUCTS) == 2
        assert b"RELU" in ops or b"LINEAR" in ops  # which takes it in
    with Program(mlp.pte, threads=1) as program, pytest.raises(InvalidArgumentError, match="etdump"):
        program.write_etdump(tmp_path / "none.etdump")


def export(module: Any, example: tuple[Any, ...], path: Path, dynamic: Any = None, config: Any = None) -> Path:
    import torch
    from executorch.exir import to_edge_transform_and_lower

    from executorch_ggml import GgmlPartitioner

    if isinstance(module, dict):
        programs = {name: torch.export.export(m.eval(), example) for name, m in module.items()}
    else:
        programs = torch.export.export(module.eval(), example, dynamic_shapes=dynamic)
    edge = to_edge_transform_and_lower(programs, partitioner=[GgmlPartitioner()])
    path.write_bytes(edge.to_executorch(config).buffer)
    return path


def test_outputs_without_planned_memory(tmp_path: Path) -> None:
    """alloc_graph_output=False: the delegate finds null pointers and provides the memory."""
    import torch
    from executorch.exir import ExecutorchBackendConfig
    from executorch.exir.passes import MemoryPlanningPass

    torch.manual_seed(0)
    net = torch.nn.Linear(8, 300)
    config = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_output=False))
    rows = torch.export.Dim("rows", min=1, max=64)
    pte = export(net, (torch.zeros(4, 8),), tmp_path / "null.pte", {"input": {0: rows}}, config)
    with Program(pte, threads=1) as program:
        for x in inputs(1, 64, 2, 63):
            want = net(torch.from_numpy(x)).detach().numpy()
            np.testing.assert_allclose(program(x)[0], want, rtol=1e-5, atol=1e-5)


def test_methods_share_states_by_name(tmp_path: Path) -> None:
    import torch

    class Add(torch.nn.Module):
        total: torch.Tensor

        def __init__(self, factor: float, size: int = 4) -> None:
            super().__init__()
            self.factor = factor
            self.register_buffer("total", torch.zeros(size))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.add_((x * self.factor).sum())
            return self.total * 1.0

    one = np.ones(4, np.float32)
    pte = export({"once": Add(1.0), "twice": Add(2.0)}, (torch.ones(4),), tmp_path / "two.pte")
    with Program(pte, threads=1) as program:
        seen = [float(program.execute(name, [one])[0][0]) for name in ("once", "twice", "once")]
        assert seen == [4, 12, 16]
        assert len(program.info()["states"]) == 1
        program.reset()
        assert float(program.execute("twice", [one])[0][0]) == 8
    clash = export({"small": Add(1.0), "large": Add(1.0, 8)}, (torch.ones(4),), tmp_path / "clash.pte")
    with Program(clash, threads=1) as program:
        program.execute("small", [one])
        with pytest.raises(BindError, match="total"):
            program.execute("large", [one])
        assert float(program.execute("small", [one])[0][0]) == 8


def test_more_values_alive_than_the_shared_allocator_takes(tmp_path: Path) -> None:
    import torch

    class Wide(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = [x * float(i + 1) for i in range(300)]
            total = parts[0]
            for part in reversed(parts[1:]):  # the last one made is used first: all of them wait
                total = total + torch.relu(part)
            return total

    x = np.linspace(-1, 1, 6, dtype=np.float32)[None]
    pte = export(Wide(), (torch.zeros(1, 6),), tmp_path / "wide.pte")
    with Program(pte, threads=1) as program:
        want = Wide()(torch.from_numpy(x)).numpy()
        for _ in range(2):
            np.testing.assert_allclose(program(x)[0], want, rtol=1e-5)


def test_stock_runtime_options(tiny_llm: TinyLlm, run_python: Callable[[str], str]) -> None:
    """ExecuTorch's own runtime: the GGUF and the options come from the environment, and the answers are the same."""
    ids = list(range(1, 8))
    out = run_python(f"""
import json, os
os.environ["EXECUTORCH_GGML_WEIGHTS"] = {str(tiny_llm.gguf)!r}
os.environ["EXECUTORCH_GGML_OPTIONS"] = json.dumps({{"threads": 1, "cache_type": "f32"}})
from executorch_ggml.runtime import _load
_load.library()
import torch
from executorch.runtime import Runtime
method = Runtime.get().load_program({str(tiny_llm.pte)!r}).load_method("forward")
out = method.execute([torch.tensor([{ids}]), torch.arange({len(ids)})])[0]
try:
    method.execute([torch.tensor([[1]]), torch.tensor([999])])
except RuntimeError:
    out = method.execute([torch.tensor([{ids}]), torch.arange({len(ids)})])[0]
print(json.dumps(out.reshape(-1).tolist()))
""")
    with Program(tiny_llm.pte, tiny_llm.gguf, threads=1, cache_type="f32") as program:
        (want,) = program.execute("forward", [np.array([ids]), np.arange(len(ids))])
        assert np.array_equal(np.array(json.loads(out.splitlines()[-1]), np.float32), np.asarray(want).reshape(-1))


def test_kernels_by_name(mlp: Mlp, monkeypatch: pytest.MonkeyPatch) -> None:
    (x,) = inputs(9)
    with Program(mlp.pte, threads=1) as program:
        for names in ("none", "gemv,attention", "gemm", "rows", ""):
            monkeypatch.setenv("EXECUTORCH_GGML_KERNELS", names)
            (got,) = run(program, [x])
            np.testing.assert_allclose(got, mlp.reference(x), rtol=1e-5, atol=1e-5)
    with Program(mlp.pte, threads=1) as program:
        monkeypatch.setenv("EXECUTORCH_GGML_KERNELS", "gemv,gem")
        with pytest.raises(InvalidArgumentError, match="no kernel 'gem'; give gemv"):
            run(program, [x])
        monkeypatch.delenv("EXECUTORCH_GGML_KERNELS")
        run(program, [x])
