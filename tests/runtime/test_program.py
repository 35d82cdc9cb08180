"""Program: results, inputs it must refuse, and that a refusal changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_models import Mlp

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import (
    BindError,
    CancelledError,
    DeviceError,
    DtypeError,
    FileError,
    FormatError,
    GgmlError,
    InvalidArgumentError,
    ShapeError,
)
from executorch_ggml.runtime.gguf_file import GGUFFile
from executorch_ggml.runtime.program import Program, payloads


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def program(mlp: Mlp) -> Program:
    return Program(mlp.pte, threads=1)


@pytest.mark.parametrize("batch", [1, 2, 7, 16, 3])
def test_results_at_every_size(program: Program, mlp: Mlp, batch: int) -> None:
    x = rows(batch, seed=batch)
    (y,) = program.execute("forward", [x])
    assert y.shape == (batch, 4)
    assert y.dtype == np.float32
    assert nmse(y, mlp.reference(x)) < 1e-10
    assert np.array_equal(program(x)[0], y)


def test_weights_from_a_gguf(program: Program, mlp: Mlp) -> None:
    x = rows(5)
    (want,) = program(x)
    with Program(mlp.bare_pte, mlp.gguf, threads=1) as by_path:
        assert np.array_equal(by_path(x)[0], want)
    file = GGUFFile(mlp.gguf)
    with Program(mlp.bare_pte, file, threads=1) as by_file:
        file.close()  # the program keeps the mapping
        assert np.array_equal(by_file(x)[0], want)
    with Program(mlp.bare_pte, str(mlp.gguf), threads=1, methods=["forward"]) as prepared:
        assert np.array_equal(prepared(x)[0], want)


def test_inputs_need_not_be_contiguous(program: Program) -> None:
    x = rows(6)
    want = program(x)[0]
    wide = np.zeros((6, 16), np.float32)
    wide[:, ::2] = x
    assert np.array_equal(program(wide[:, ::2])[0], want)
    assert np.array_equal(program(np.asfortranarray(x))[0], want)
    assert np.array_equal(program(x[::-1])[0], want[::-1])
    assert np.array_equal(program(x.astype(">f4"))[0], want)
    assert np.array_equal(program(x.tolist() and x)[0], want)


def test_torch_in_torch_out(program: Program) -> None:
    import torch

    x = rows(3)
    (y,) = program(torch.from_numpy(x).requires_grad_())
    assert isinstance(y, torch.Tensor)
    assert not y.requires_grad
    assert np.array_equal(y.numpy(), program(x)[0])
    before = y.clone()
    program(rows(3, seed=9))
    assert torch.equal(y, before)  # a copy, not the program's memory


def test_results_are_copies_unless_asked(program: Program) -> None:
    first = program.execute("forward", [rows(4)])[0]
    kept = first.copy()
    program.execute("forward", [rows(4, seed=1)])
    assert np.array_equal(first, kept)
    view = program.execute("forward", [rows(4)], copy=False)[0]
    assert np.array_equal(view, kept)
    assert not view.flags.writeable


def test_a_view_keeps_its_program(mlp: Mlp) -> None:
    program = Program(mlp.pte, threads=1)
    x = rows(4)
    want = program(x)[0]
    view = program.execute("forward", [x], copy=False)[0]
    program.close()
    del program
    assert np.array_equal(view, want)


@pytest.mark.parametrize(
    "inputs, kind, words",
    [
        ([rows(2).astype(np.float64)], DtypeError, ["input 0"]),
        ([rows(2).astype(np.int64)], DtypeError, ["input 0"]),
        ([rows(2).astype(np.complex64)], DtypeError, ["input 0", "complex64"]),
        ([np.array([["a"]])], DtypeError, ["input 0"]),
        ([rows(2)[0]], ShapeError, ["input 0", "1 dimensions"]),
        ([rows(2)[None]], ShapeError, ["input 0", "3 dimensions"]),
        ([rows(2)[:, :7]], ShapeError, ["'x'", "[2, 7]", "[2, 8]"]),
        ([rows(17)], ShapeError, ["input 0", "17", "16"]),
        ([rows(2)[:0]], ShapeError, ["'x'", "[0, 8]", "1..16"]),
        ([np.zeros((1,) * 9, np.float32)], ShapeError, ["input 0", "rank 9"]),
        ([], GgmlError, ["1 input"]),
        ([rows(2), rows(2)], GgmlError, ["1 input"]),
        ([1.5], GgmlError, ["input 0"]),
        ([2**70], InvalidArgumentError, ["64 bits"]),
    ],
)
def test_refused_inputs(program: Program, mlp: Mlp, inputs: list[Any], kind: type[GgmlError], words: list[str]) -> None:
    with pytest.raises(kind) as caught:
        program.execute("forward", inputs)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    x = rows(3)  # and the next call is as if nothing had happened
    assert nmse(program(x)[0], mlp.reference(x)) < 1e-10


def test_unknown_method(program: Program) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'nonsense'.*forward"):
        program.execute("nonsense", [])


@pytest.mark.parametrize(
    "options, kind, word",
    [
        ({"threads": -1}, InvalidArgumentError, "threads"),
        ({"threads": 10**9}, InvalidArgumentError, "threads"),
        ({"device": "nonsense"}, DeviceError, "nonsense"),
        ({"cache_type": "q2_k"}, InvalidArgumentError, "cache_type"),
        ({"max_plans": -1}, InvalidArgumentError, "max_plans"),
        ({"methods": ["nonsense"]}, InvalidArgumentError, "nonsense"),
        ({"data_path": "/nowhere.ptd"}, FileError, "/nowhere.ptd"),
    ],
)
def test_refused_options(mlp: Mlp, options: dict[str, Any], kind: type[GgmlError], word: str) -> None:
    with pytest.raises(kind, match=word):
        Program(mlp.pte, **options)


def test_closed(mlp: Mlp) -> None:
    with Program(mlp.pte, threads=1) as program:
        pass
    program.close()
    program.cancel()
    for use in (lambda: program(rows(1)), program.info, program.stats, program.reset):
        with pytest.raises(GgmlError, match="closed"):
            use()


def test_files_that_are_no_program(tmp_path: Path, mlp: Mlp) -> None:
    with pytest.raises(FileError, match="nowhere"):
        Program(tmp_path / "nowhere.pte")
    bad = tmp_path / "bad.pte"
    content = mlp.pte.read_bytes()
    for broken in (
        b"",
        b"x",
        b"not a program" * 100,
        content[:-1000],
        content[: len(content) // 2],
        mlp.gguf.read_bytes(),
    ):
        bad.write_bytes(broken)
        with pytest.raises(FormatError, match=r"bad\.pte"):
            Program(bad)


def test_no_weights(mlp: Mlp) -> None:
    with pytest.raises(BindError, match=r"fc\d\.(weight|bias)"):
        Program(mlp.bare_pte, threads=1, methods=["forward"])


def test_info(program: Program, mlp: Mlp) -> None:
    info = program.info()
    assert "forward" in str(info["methods"])
    assert info["threads"] == 1
    assert isinstance(program.stats(), dict)
    with Program(mlp.bare_pte, mlp.gguf, threads=1, methods=["forward"]) as mapped:
        weights = mapped.info()["weights"]
        assert weights["count"] == 4
        assert weights["bytes"] == sum(w.nbytes for w in mlp.weights.values())


def test_progress(mlp: Mlp) -> None:
    seen: list[float] = []
    Program(mlp.bare_pte, mlp.gguf, threads=1, methods=["forward"], progress=seen.append).close()
    assert seen
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 1.0


def test_progress_cancels(mlp: Mlp) -> None:
    with pytest.raises(CancelledError):
        Program(mlp.bare_pte, mlp.gguf, threads=1, methods=["forward"], progress=lambda _fraction: False)


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_progress_that_raises(mlp: Mlp, kind: type[BaseException]) -> None:
    def broken(_fraction: float) -> None:
        raise kind("from the callback")

    with pytest.raises(kind, match="from the callback"):
        Program(mlp.bare_pte, mlp.gguf, threads=1, methods=["forward"], progress=broken)


def test_payloads(mlp: Mlp) -> None:
    found = payloads(mlp.pte)
    assert [(p.method, p.index) for p in found] == [("forward", 0)]
    assert found[0].data[4:8] == b"GGIR"
    assert all(mlp.weights["fc1.weight"].tobytes() not in p.data for p in found)
    with pytest.raises(FileError):
        payloads("/nowhere.pte")


def test_embedded_and_external_sizes(mlp: Mlp) -> None:
    total = sum(w.nbytes for w in mlp.weights.values())
    assert mlp.weights["fc1.weight"].tobytes() in mlp.pte.read_bytes()
    assert mlp.weights["fc1.weight"].tobytes() not in mlp.bare_pte.read_bytes()
    assert mlp.bare_pte.stat().st_size < mlp.pte.stat().st_size - total // 2
