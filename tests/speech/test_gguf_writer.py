"""Weights as a stream: read back by our strict reader and by the `gguf` package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executorch_ggml import GGUFFile
from executorch_ggml.errors import InvalidArgumentError, ShapeError
from executorch_ggml.gguf.writer import TensorSource, storage_type, write_gguf

pytestmark = pytest.mark.quick


def source(name: str, *shape: int) -> TensorSource:
    data = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return TensorSource(name, shape, lambda first, last: data[first:last])


TENSORS = [source("a.weight", 6, 64), source("b.bias", 5), source("conv.weight", 4, 8, 3), source("odd.weight", 3, 20),
           source("table", 7, 256)]  # fmt: skip


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "Q8_0", "Q4_K"])
def test_read_back(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gguf

    monkeypatch.setattr("executorch_ggml.gguf.writer._AT_ONCE", 130)  # some rows at a time
    path = tmp_path / "w.gguf"
    assert write_gguf(path, TENSORS, dtype, metadata={"general.name": "x", "n": 3}) == path.stat().st_size
    with GGUFFile(path) as file:
        assert file.metadata["general.name"] == "x"
    tolerance = {"F32": 0.0, "F16": 1e-3, "BF16": 1e-2, "Q8_0": 2e-2, "Q4_K": 0.3}[dtype]
    found: dict[str, Any] = {t.name: t for t in gguf.GGUFReader(path).tensors}
    assert list(found) == [t.name for t in TENSORS]
    for tensor in TENSORS:
        kind = found[tensor.name].tensor_type
        assert int(kind) == int(storage_type(tensor, dtype))
        values = gguf.quants.dequantize(found[tensor.name].data, kind).reshape(tensor.shape)
        np.testing.assert_allclose(values, tensor.read(0, tensor.shape[0]), atol=tolerance, rtol=tolerance)


def test_types() -> None:
    names = [storage_type(t, "Q4_K", ["table"]).name for t in TENSORS]
    assert names == ["Q8_0", "F32", "F16", "F32", "F32"]
    assert [storage_type(t, "BF16").name for t in TENSORS] == ["BF16", "F32", "F32", "BF16", "BF16"]


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="Q9_9"):
        write_gguf(tmp_path / "a", TENSORS, "Q9_9")
    with pytest.raises(InvalidArgumentError, match="63 bytes"):
        write_gguf(tmp_path / "a", [source("x" * 64, 2)], "F32")
    with pytest.raises(ShapeError, match="lies: rows 0 to 3"):
        write_gguf(tmp_path / "a", [TensorSource("lies", (3, 4), lambda a, b: np.zeros((1, 4), np.float32))], "F32")
    assert not list(tmp_path.iterdir())
