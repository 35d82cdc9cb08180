"""A tensor with its dimensions swapped: loading, `check` and `export` say the same sentence, in the same order."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from executorch_ggml import GGUFModule, export_gguf_to_pte
from executorch_ggml.errors import BindError
from executorch_ggml.gguf.header import read_header
from executorch_ggml.gguf.shapes import shape_text
from executorch_ggml.runtime.check import check

NAME = "blk.0.ffn_up.weight"


def swapped(gguf: Path, target: Path) -> Path:
    data = bytearray(gguf.read_bytes())
    at = data.index(NAME.encode()) + len(NAME) + 4  # behind the name: the number of dimensions, then each
    first, second = struct.unpack_from("<QQ", data, at)
    assert first != second
    struct.pack_into("<QQ", data, at, second, first)
    target.write_bytes(data)
    return target


def test_one_sentence(make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    good = make_gguf("qwen3")
    bad = swapped(good, tmp_path / "bad.gguf")
    found, wanted = (shape_text(read_header(path).tensors[NAME].shape) for path in (bad, good))
    sentence = (
        f"weight '{NAME}' in {bad} has shape {found}, the graph needs {wanted} (ggml order): "
        "it is transposed; convert the model again"
    )
    pte = exported("qwen3")
    report = check(pte, bad)
    assert sentence in str(report)
    assert [p.message for p in report.problems] == [sentence]
    with pytest.raises(BindError) as loading:
        GGUFModule(pte, bad)
    assert sentence in str(loading.value)
    with pytest.raises(BindError) as exporting:
        export_gguf_to_pte(bad, tmp_path / "bad.pte")
    assert sentence in str(exporting.value)


@pytest.mark.parametrize(
    "shape, text", [((), "[1]"), ((1,), "[1]"), ((3, 1), "[1, 3]"), ((1, 3), "[3]"), ((1, 1, 2, 4), "[4, 2]")]
)
def test_order(shape: tuple[int, ...], text: str) -> None:
    assert shape_text(shape) == text
