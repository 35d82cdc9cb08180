"""Cases for machines with a GPU: written, read, run and compared as there, on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shared_models import child

from benchmarks.cuda.case_compare import compare
from benchmarks.cuda.case_file import Bound, Case, Run, Writer, names, read
from benchmarks.cuda.run_cases import Family, last_words, report, run_family, take


@pytest.fixture(scope="module")
def program() -> bytes:
    """(x float32 [2, 3]) -> relu(x) + x, x > 0"""
    import torch

    from executorch_ggml import to_edge_rewrite_and_lower

    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.relu(x) + x, x > 0

    edge = to_edge_rewrite_and_lower(torch.export.export(Model(), (torch.ones(2, 3),)))
    return bytes(edge.to_executorch().buffer)


def call(x: np.ndarray, offset: float = 0.0) -> Run:
    want = [np.maximum(x, 0) + x + np.float32(offset), x > 0]
    return Run([x], want, [Bound("nmse", 1e-9), Bound("equal")])


X = np.array([[1, -2, 3], [-4, 5, -6]], np.float32)


def test_archives_keep_everything(tmp_path: Path) -> None:
    half = Run([np.arange(3, dtype=np.uint16)], [np.array(2.5, np.float32)], [Bound("absolute", 0.5)], [0])
    with Writer(tmp_path / "a.zip") as writer:
        writer.add(Case("one", b"abc", [call(X), call(2 * X)], "f32", ["sum", "sign"]))
        writer.add(Case("two", b"", [half]))
    assert names(tmp_path / "a.zip") == ["one", "two"]
    one, two = read(tmp_path / "a.zip")
    assert (one.program, one.cache_type, len(one.runs)) == (b"abc", "f32", 2)
    assert np.array_equal(one.runs[1].inputs[0], 2 * X)
    assert one.runs[1].want[1].dtype == bool
    assert (one.labels, two.labels) == (["sum", "sign"], [])
    assert two.runs[0].bounds == half.bounds
    assert two.runs[0].halves == [0]
    assert two.runs[0].want[0].shape == ()
    assert [c.name for c in read(tmp_path / "a.zip", first=1)] == ["two"]


def test_a_family_is_run_and_failures_are_named(program: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "small.zip"
    with Writer(archive) as writer:
        writer.add(Case("right", program, [call(X), call(-X)]))
        writer.add(Case("wrong", program, [call(X, offset=0.01)], labels=["a sum", "a sign"]))
        writer.add(Case("broken", b"not a program", [call(X)]))
        writer.add(Case("again", program, [call(X)]))
    family = run_family(archive, "cpu", timeout=120)
    assert (family.cases, family.passed) == (4, 2)
    assert set(family.problems) == {"wrong", "broken"}
    assert "call 0, output 0 (a sum): nmse" in family.problems["wrong"]
    assert "; at [" in family.problems["wrong"]
    assert "Error" in family.problems["broken"]
    page = report([family], "cpu")
    assert "| small | 4 | 2 | 0 |" in page
    assert "FAILED small: wrong" in page
    done = child("benchmarks/cuda/run_cases.py", str(tmp_path), "--device", "cpu", timeout=120)
    assert done.returncode == 1
    assert "FAILED small: broken" in done.stdout


def test_a_case_that_ends_its_process_has_failed(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    entries = [{"start": 1}, {"done": 1, "nmse": 1e-12, "share": 0.5, "problem": ""}, {"start": 2}]
    record.write_text("".join(json.dumps(e) + "\n" for e in entries))
    family = Family("ops", 4)
    assert take(family, record, list("abcd"), 1, "died") == 3
    assert family.problems == {"c": "died"}
    assert family.worst == 1e-12
    # Before its first case: that one is given up, so that the others get their turn.
    assert take(family, tmp_path / "missing", list("abcd"), 3, "died") == 4
    assert set(family.problems) == {"c", "d"}


def test_comparison() -> None:
    want = np.array([100.0, -1.0, np.inf, np.nan], np.float32)
    close, far = want.copy(), want.copy()
    close[0], far[0] = 100.001, 101.0
    bound = Bound("absolute", 0.01)
    assert not compare(close, want, bound, "cpu").problem
    assert compare(far, want, bound, "cuda:0").problem
    for i, value in ((2, -np.inf), (2, 1.0), (3, 0.0), (1, np.nan)):
        other = want.copy()
        other[i] = value
        assert compare(other, want, bound, "cpu").problem
    assert compare(np.array([np.nan, -1.0, -np.inf, 7.0], np.float32), want, bound, "cpu").problem == (
        "1 NaN too many, 1 NaN missing, 1 infinite with the other sign (of 4); at [0] nan instead of 100.0"
    )
    assert compare(far, want, bound, "cpu").problem == "absolute 1, allowed 0.01; at [0] 101.0 instead of 100.0"
    assert compare(close.astype(np.float64), want, bound, "cpu").problem
    wrong = compare(np.array([1, 2]), np.array([1, 3]), Bound("equal"), "cpu").problem
    assert wrong == "1 of 2 elements differ; at [1] 2 instead of 3"
    assert not compare(np.float32(np.nan).reshape(()), np.float32(np.nan).reshape(()), bound, "cpu").problem
    assert compare(np.array(1.0, np.float32), np.array(2.0, np.float32), bound, "cpu").problem
    assert not compare(np.zeros(0, np.float32), np.zeros(0, np.float32), bound, "cpu").problem


def test_the_last_words_of_a_process_name_the_assertion() -> None:
    log = "loading\nggml-cuda.cu:2003: GGML_ASSERT(x == y) failed\n" + "\n".join(f"frame {i}" for i in range(30))
    words = last_words(log).splitlines()
    assert "GGML_ASSERT(x == y)" in words[0]
    assert words[-1] == "frame 29"
    assert len(words) == 7
