"""diff_pte: a `.pte` against the interpreter of its graphs, with inputs that its graphs accept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared_models import Mlp, TinyLlm, lower_to_file

from executorch_ggml import FileError, FormatError, InvalidArgumentError, ShapeError
from executorch_ggml.analysis.diff import diff_pte
from executorch_ggml.analysis.diff.inputs import random_inputs, read_inputs
from executorch_ggml.analysis.diff.pte_view import PteView
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.runtime.program import Program, payloads

pytestmark = pytest.mark.filterwarnings("ignore")


def inputs_of(pte: Path, gguf: Path | None = None, seed: int = 0) -> list[Any]:
    graphs = [deserialize(p.data) for p in payloads(pte)]
    with Program(pte, gguf) as program:
        (method,) = (m for m in program.info()["methods"] if m["name"] == "forward")
    return random_inputs(method, PteView(pte, "forward"), graphs, seed)


def test_a_right_file_passes(mlp: Mlp) -> None:
    report = diff_pte(mlp.pte)
    assert report.ok, report
    assert {"InputLeaf", "MulMat"} <= {v.op for v in report.values}
    assert max(v.errors.nmse for v in report.values) < 1e-10
    assert (7, 32) in {v.shape for v in report.values}  # the dynamic dimension's size


def test_random_inputs_are_what_the_graph_takes(mlp: Mlp, tiny_llm: TinyLlm) -> None:
    (x,) = inputs_of(mlp.pte)
    assert (x.shape, x.dtype) == ((7, 8), np.float32)
    np.testing.assert_array_equal(x, inputs_of(mlp.pte)[0])
    assert not np.array_equal(x, inputs_of(mlp.pte, seed=1)[0])
    ids, positions = inputs_of(tiny_llm.pte, tiny_llm.gguf)
    assert (ids.shape, ids.dtype) == ((1, 7), np.int64)
    assert ids.min() >= 0
    assert 2 < ids.max() < tiny_llm.vocab
    np.testing.assert_array_equal(positions, np.arange(7))


def test_weights_from_a_gguf(tiny_llm: TinyLlm) -> None:
    report = diff_pte(tiny_llm.pte, gguf=tiny_llm.gguf)
    assert report.ok, report
    assert {"FlashAttn", "CausalMask", "Rope", "SetRows", "RmsNorm"} <= {v.op for v in report.values}


def test_quantised_weights(bundled: TinyLlm) -> None:
    report = diff_pte(bundled.pte, [np.array([[1, 5, 9]]), np.arange(3)], gguf=bundled.gguf)
    assert report.ok, report
    assert report.tolerance.nmse == 1e-2
    assert 1e-9 < max(v.errors.nmse for v in report.values) < 1e-2  # activations are rounded to 8 bits


def test_each_delegate_by_itself(tmp_path: Path) -> None:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.a = nn.Embedding(10, 8), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            return torch.erf(self.a(x + self.table(ids))) * 2.0

    pte = lower_to_file(Net(), (torch.randn(3, 8), torch.tensor([1, 2, 3])), tmp_path / "net.pte")
    x, ids = inputs_of(pte)
    assert (x.shape, ids.shape) == ((3, 8), (3,))
    assert 0 <= ids.min() <= ids.max() < 10
    report = diff_pte(pte)
    assert report.ok, report
    assert {v.delegate for v in report.values} == {0, 1}


def test_source_lines_from_the_record_of_the_export(tmp_path: Path) -> None:
    import torch
    from torch import nn

    from executorch_ggml import to_edge_rewrite_and_lower

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(self.fc(x))  # the line that the record knows

    program = torch.export.export(Net().eval(), (torch.randn(2, 8),))
    lowered = to_edge_rewrite_and_lower(program, generate_etrecord=True).to_executorch()
    (tmp_path / "net.pte").write_bytes(lowered.buffer)
    lowered.get_etrecord().save(str(tmp_path / "net.etrecord"))
    report = diff_pte(tmp_path / "net.pte", etrecord=tmp_path / "net.etrecord")
    assert report.ok, report
    (sine,) = (v for v in report.values if v.op == "Unary of aten.sin.default")
    assert "the line that the record knows" in sine.code
    assert {v.op for v in report.values} >= {"MulMat of aten.linear.default"}
    (tmp_path / "broken.etrecord").write_bytes(b"nothing")
    for name, error in (("broken", FormatError), ("missing", FileError)):
        with pytest.raises(error, match=name):
            diff_pte(tmp_path / "net.pte", etrecord=tmp_path / f"{name}.etrecord")


def test_a_wrong_kernel_is_named(tiny_llm: TinyLlm, monkeypatch: pytest.MonkeyPatch) -> None:
    from executorch_ggml.ir import kernels

    real = kernels.rms_norm
    monkeypatch.setattr(kernels, "rms_norm", lambda it, op, src, ne: real(it, op, src, ne) * 1.01)
    report = diff_pte(tiny_llm.pte, gguf=tiny_llm.gguf)
    first = report.first
    assert first is not None
    assert first.op == "RmsNorm"
    assert first.errors.nmse == pytest.approx(1e-4, rel=0.05)
    rows = [v.op for v in report.values]
    assert rows.index("RmsNorm") == report.values.index(first)  # none before it


def test_watch_shows_what_was_computed(mlp: Mlp) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    with Program(mlp.pte, threads=1) as program:
        seen: list[Any] = []
        (got,) = program.watch("forward", [x], seen.append)
        np.testing.assert_allclose(got, program(x)[0], rtol=1e-6, atol=1e-6)
        assert [v.kind for v in seen[:2]] == ["symbol", "input"]
        assert (int(seen[0].data), seen[1].method) == (2, "forward")
        np.testing.assert_array_equal(seen[1].data, x)
        hidden = np.maximum(x @ mlp.weights["fc1.weight"].T + mlp.weights["fc1.bias"], 0)
        assert any(v.data.shape == (1, 1, 2, 32) and np.allclose(v.data[0, 0], hidden, atol=1e-5) for v in seen)
        count = len(seen)
        program(x)
        assert len(seen) == count  # an ordinary call shows nothing

        def refuse(value: Any) -> None:
            raise KeyError(value.index)

        with pytest.raises(KeyError):
            program.watch("forward", [x], refuse)
        with pytest.raises(ShapeError):
            program.watch("forward", [x[:, :3]], seen.append)
        np.testing.assert_allclose(program(x)[0], got, rtol=1e-6, atol=1e-6)


def test_inputs_from_files(tmp_path: Path) -> None:
    import torch

    a, b = np.arange(3.0), np.ones((2, 2))
    np.save(tmp_path / "one.npy", a)
    np.savez(tmp_path / "numbered.npz", **{"1": b, "0": a})
    np.savez(tmp_path / "named.npz", x=b, ids=a)
    torch.save((torch.ones(2), 3), tmp_path / "both.pt")
    np.testing.assert_array_equal(read_inputs(tmp_path / "one.npy")[0], a)
    for name, wanted in (("numbered", [a, b]), ("named", [b, a])):
        for got, want in zip(read_inputs(tmp_path / f"{name}.npz"), wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    tensor, number = read_inputs(tmp_path / "both.pt")
    assert (tensor.shape, number) == ((2,), 3)
    (tmp_path / "broken.npz").write_bytes(b"PK nothing")
    (tmp_path / "x.txt").write_text("1")
    for name, error in (("broken.npz", FileError), ("missing.npy", FileError), ("x.txt", InvalidArgumentError)):
        with pytest.raises(error, match=name):
            read_inputs(tmp_path / name)


def test_unusable(mlp: Mlp, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no method 'other'; it has forward"):
        diff_pte(mlp.pte, method="other")
    (tmp_path / "broken.pte").write_bytes(b"nothing of the kind" * 8)
    with pytest.raises(FormatError, match=r"broken\.pte"):
        diff_pte(tmp_path / "broken.pte")
    with pytest.raises(FileError, match="missing"):
        diff_pte(tmp_path / "missing.pte")
