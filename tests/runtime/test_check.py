"""check(pte, gguf): every way in which weights may not fit, all at once, and what loading says to the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shared_models import Mlp, write_mlp_gguf

from executorch_ggml.errors import BindError, FileError, FormatError, GgmlError
from executorch_ggml.runtime.check import Report, check
from executorch_ggml.runtime.program import Program

Weights = dict[str, np.ndarray]


def test_fits(mlp: Mlp) -> None:
    report = check(mlp.bare_pte, mlp.gguf)
    assert report.ok
    assert report
    assert report.problems == ()
    assert report.extra == ()
    assert report.tensors == 4
    assert report.bytes == sum(w.nbytes for w in mlp.weights.values())
    assert "fits" in str(report)
    report.raise_if_bad()


def test_extra_tensors_are_reported_and_harmless(mlp: Mlp, tmp_path: Path) -> None:
    weights = {**mlp.weights, "unused.weight": np.zeros(4, np.float32)}
    report = check(mlp.bare_pte, write_mlp_gguf(tmp_path / "extra.gguf", weights))
    assert report.ok
    assert report.extra == ("unused.weight",)
    assert "unused.weight" in str(report)


def renamed(w: Weights) -> Weights:
    return {name.replace("fc1.weight", "fc1.wieght"): value for name, value in w.items()}


def transposed(w: Weights) -> Weights:
    return {**w, "fc2.weight": np.ascontiguousarray(w["fc2.weight"].T)}


def reshaped(w: Weights) -> Weights:
    return {**w, "fc1.weight": w["fc1.weight"].reshape(16, 16)}


def integers(w: Weights) -> Weights:
    return {**w, "fc1.bias": w["fc1.bias"].astype(np.int32)}


def three_things(w: Weights) -> Weights:
    return {k: v for k, v in transposed(integers(w)).items() if k != "fc2.bias"}


@pytest.mark.parametrize(
    "change, expected",
    [
        (renamed, [("missing", "fc1.weight")]),
        (transposed, [("shape", "fc2.weight")]),
        (reshaped, [("shape", "fc1.weight")]),
        (integers, [("type", "fc1.bias")]),
        (three_things, [("missing", "fc2.bias"), ("shape", "fc2.weight"), ("type", "fc1.bias")]),
    ],
)
def test_misfits(
    mlp: Mlp, tmp_path: Path, change: Callable[[Weights], Weights], expected: list[tuple[str, str]]
) -> None:
    path = write_mlp_gguf(tmp_path / "misfit.gguf", change(mlp.weights))
    report = check(mlp.bare_pte, path)
    assert not report.ok
    assert sorted((p.kind, p.key) for p in report.problems) == expected
    text = str(report)
    assert "misfit.gguf" in text
    for kind, key in expected:
        assert kind in text
        assert key in text
    with pytest.raises(BindError, match=expected[0][1].replace(".", r"\.")):
        report.raise_if_bad()
    # loading refuses the same file, naming a key and the file
    with pytest.raises(BindError) as caught:
        Program(mlp.bare_pte, path, threads=1, methods=["forward"])
    assert any(key in str(caught.value) for _, key in expected), str(caught.value)
    assert "misfit.gguf" in str(caught.value)


def test_missing_names_the_nearest(mlp: Mlp, tmp_path: Path) -> None:
    report: Report = check(mlp.bare_pte, write_mlp_gguf(tmp_path / "typo.gguf", renamed(mlp.weights)))
    (problem,) = report.problems
    assert "fc1.wieght" in problem.nearest
    assert "fc1.wieght" in str(report)
    assert report.extra == ("fc1.wieght",)


def test_no_gguf_at_all(mlp: Mlp) -> None:
    assert check(mlp.pte).ok
    report = check(mlp.bare_pte)
    assert sorted(p.key for p in report.problems) == ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]


@pytest.mark.parametrize("which", ["pte", "gguf"])
def test_files_that_cannot_be_read(mlp: Mlp, tmp_path: Path, which: str) -> None:
    files = {"pte": mlp.bare_pte, "gguf": mlp.gguf}
    with pytest.raises(FileError, match="nowhere"):
        check(**{**files, which: tmp_path / "nowhere"})
    broken = tmp_path / "broken"
    broken.write_bytes(b"nothing of the kind" * 10)
    with pytest.raises(FormatError, match="broken"):
        check(**{**files, which: broken})


def test_nothing_was_loaded(mlp: Mlp, tmp_path: Path) -> None:
    """A check needs neither memory for the weights nor valid data in them."""
    path = tmp_path / "empty.gguf"
    weights = {name: np.full_like(value, np.nan) for name, value in mlp.weights.items()}
    assert check(mlp.bare_pte, write_mlp_gguf(path, weights)).ok


def test_both_ways_agree_for_a_llm(tiny_llm: object) -> None:
    report = check(tiny_llm.pte, tiny_llm.gguf)  # type: ignore[attr-defined]
    assert report.ok, str(report)
    assert not report.extra
    with pytest.raises(GgmlError):
        check(tiny_llm.pte).raise_if_bad()  # type: ignore[attr-defined]
