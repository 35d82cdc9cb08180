"""A language model through Program: what may go wrong with tokens and positions, and a process without torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import BindError, DtypeError, GgmlError, ShapeError, ValueRangeError
from executorch_ggml.runtime.check import check
from executorch_ggml.runtime.program import Program


def ids(*tokens: int) -> np.ndarray:
    return np.array([tokens], np.int64)


def positions(start: int, count: int) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.int64)


@pytest.fixture(scope="module")
def llm(tiny_llm: TinyLlm) -> Program:
    return Program(tiny_llm.pte, tiny_llm.gguf, threads=1, cache_type="f32")


def test_prefill_split_in_two_is_prefill(llm: Program, tiny_llm: TinyLlm) -> None:
    tokens = np.random.default_rng(0).integers(0, tiny_llm.vocab, 11)
    (whole,) = llm.execute("forward", [tokens[None], positions(0, 11)])
    assert whole.shape == (1, 1, tiny_llm.vocab)
    llm.reset()
    llm.execute("forward", [tokens[None, :6], positions(0, 6)])
    (parts,) = llm.execute("forward", [tokens[None, 6:], positions(6, 5)])
    llm.reset()
    for i, token in enumerate(tokens):
        (steps,) = llm.execute("forward", [ids(token), positions(i, 1)])
    for other in (parts, steps):
        assert nmse(other, whole) < 1e-9


@pytest.mark.parametrize(
    "inputs, kind, word",
    [
        ([ids(1, 2, 3), positions(0, 2)], ShapeError, "'cache_pos' has shape [2]"),
        ([ids(*range(33)), positions(0, 33)], ShapeError, "33"),
        ([ids(1), positions(32, 1)], ValueRangeError, "32"),
        ([ids(1, 2), np.array([31, 32])], ValueRangeError, "32"),
        ([ids(1), np.array([-1])], ValueRangeError, "-1"),
        ([ids(1), np.array([2**40])], ValueRangeError, str(2**40)),
        ([ids(-1), positions(0, 1)], ValueRangeError, "-1"),
        ([ids(10**9), positions(0, 1)], ValueRangeError, str(10**9)),
        ([ids(1).astype(np.float32), positions(0, 1)], DtypeError, "input 0"),
        ([ids(1).astype(np.int32), positions(0, 1)], DtypeError, "input 0"),
        ([ids(1)[0], positions(0, 1)], ShapeError, "input 0"),
        ([np.zeros((2, 1), np.int64), positions(0, 1)], ShapeError, "input 0"),
    ],
)
def test_refused_tokens_and_positions(llm: Program, inputs: list[Any], kind: type[GgmlError], word: str) -> None:
    llm.reset()
    (want,) = llm.execute("forward", [ids(5, 6), positions(0, 2)])
    with pytest.raises(kind) as caught:
        llm.execute("forward", inputs)
    assert word in str(caught.value), str(caught.value)
    (got,) = llm.execute("forward", [ids(5, 6), positions(0, 2)])
    assert np.array_equal(got, want)


def test_last_position_of_the_cache(llm: Program) -> None:
    llm.reset()
    (logits,) = llm.execute("forward", [ids(*range(1, 33)), positions(0, 32)])
    assert np.isfinite(logits).all()


def test_weights_of_another_model(tiny_llm: TinyLlm, mlp: Mlp) -> None:
    report = check(tiny_llm.pte, mlp.gguf)
    assert not report.ok
    kinds = {p.kind for p in report.problems}
    assert "metadata" in kinds  # general.architecture
    assert "missing" in kinds
    with pytest.raises(BindError, match=r"mlp\.gguf"):
        Program(tiny_llm.pte, mlp.gguf, threads=1, methods=["forward"])


def test_torch_is_never_imported(tiny_llm: TinyLlm, run_python: Callable[[str], str]) -> None:
    out = run_python(f"""
import sys
import numpy as np
from executorch_ggml import Program
from executorch_ggml.runtime.check import check
assert check({str(tiny_llm.pte)!r}, {str(tiny_llm.gguf)!r})
with Program({str(tiny_llm.pte)!r}, {str(tiny_llm.gguf)!r}, threads=1) as program:
    (logits,) = program.execute("forward", [np.array([[1, 2, 3]]), np.arange(3)])
    print(type(logits).__module__, logits.shape[-1], bool(np.isfinite(logits).all()))
maps = open("/proc/self/maps").read() if sys.platform == "linux" else ""
print("torch" in sys.modules, "libtorch" in maps)
""")
    assert out.split() == ["numpy", str(tiny_llm.vocab), "True", "False", "False"]
