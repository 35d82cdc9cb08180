"""ExecuTorch's backend test suite on our backend: no failure, and nothing undelegated without a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conformance_reasons import UNDELEGATED
from conformance_results import FAILED, Result, append, count, load
from conformance_results import UNDELEGATED as LEFT
from conformance_table import render
from ggml_flow import assert_close
from run import run

# The suite of ExecuTorch 1.5; a change of these numbers deserves a look.
OPERATOR_TESTS, OPERATOR_FILES = 467, 80


def check(results: Sequence[Result]) -> None:
    failed = [f"{r.id}: {r.detail}" for r in results if r.outcome == FAILED]
    assert not failed, "\n".join(failed)
    unexplained = [f"{r.key}: {r.reasons}" for r in results if r.outcome == LEFT and r.key not in UNDELEGATED]
    assert not unexplained, "\n".join(unexplained)
    delegated = [r.key for r in results if r.outcome != LEFT and r.key in UNDELEGATED]
    assert not delegated, f"delegated by now, so no longer to be excused: {delegated}"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_smallest_test_of_each_operator(tmp_path: Path) -> None:
    """Every file has a test of one program, which is named for its element type."""
    results = run("ggml", tmp_path / "results.jsonl", "-k", "dtype")
    assert len({r.file for r in results}) == OPERATOR_FILES
    check(results)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
def test_all(tmp_path: Path) -> None:
    results = run("ggml", tmp_path / "results.jsonl")
    assert len(results) == OPERATOR_TESTS
    check(results)
    assert set(UNDELEGATED) <= {r.key for r in results}
    assert count(results)[LEFT] < 0.05 * OPERATOR_TESTS


def test_comparison_is_strict() -> None:
    x = torch.tensor([100.0, -1.0, 0.0, float("inf"), float("nan")])
    assert_close(x + torch.tensor([1e-3, 0.0, 1e-3, 0.0, 0.0]), x, "x")
    for i, wrong in ((0, 100.01), (1, -1.01), (2, 0.01), (3, 1.0), (3, -float("inf")), (4, 0.0)):
        y = x.clone()
        y[i] = wrong
        with pytest.raises(AssertionError):
            assert_close(y, x, "x")
    with pytest.raises(AssertionError):
        assert_close(torch.tensor([1, 2]), torch.tensor([1, 3]), "integers")
    with pytest.raises(AssertionError):
        assert_close(torch.ones(2), torch.ones(2, dtype=torch.float64), "types")


def test_a_test_that_kills_its_process_has_failed(tmp_path: Path) -> None:
    record = tmp_path / "results.jsonl"
    append(record, "test_add.py::test_one[ggml]")
    append(record, Result("test_add.py::test_one[ggml]", "test_add", "test_one", "ggml", "whole"))
    append(record, "test_add.py::test_two[ggml-float32]")
    one, two = load(record)
    assert one.outcome == "whole"
    assert (two.outcome, two.flow, two.key) == (FAILED, "ggml", "test_add::test_two")
    with pytest.raises(AssertionError, match="test_two"):
        check([one, two])
    page = render([one, two], "abc of today")
    assert "| ggml | 2 | 1 | 0 | 0 | 0 | 0 | 1 |" in page
    assert "the process died" in page
    assert "at abc of today;" in page


def test_undelegated_needs_a_reason() -> None:
    with pytest.raises(AssertionError, match="no lowering"):
        check([Result("a", "test_add", "test_one", "ggml", LEFT, reasons=["aten.add: no lowering"])])
    key = next(iter(UNDELEGATED))
    with pytest.raises(AssertionError, match="no longer"):
        check([Result("a", *key.split("::"), "ggml", "whole")])
