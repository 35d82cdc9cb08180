"""GGUFAnalyzer: the header of a file in a form for people and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest

from executorch_ggml.errors import FormatError
from executorch_ggml.gguf.summary import GGUFAnalyzer
from executorch_ggml.gguf.types import BLOCK_SIZES
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.runtime.types import all_types


def test_says_what_is_in_the_file(make_gguf: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_gguf("qwen3", type="q8_0")
    analyzer = GGUFAnalyzer(path)
    assert analyzer.get_model_architecture() == "qwen3"
    assert analyzer.get_config()["qwen3.attention.head_count"] == 4
    assert analyzer.get_tensor_count() == len(analyzer.get_tensor_names()) == 24
    assert analyzer.get_tensor_names()[0] == "token_embd.weight"
    info = analyzer.get_file_info()
    assert info["file_bytes"] == path.stat().st_size
    assert info["parameters"] == sum(int(t.n_elements) for t in gguf.GGUFReader(path).tensors)
    assert {name: entry["tensors"] for name, entry in info["types"].items()} == {"F32": 9, "Q8_0": 15}
    stored = sum(entry["bytes"] for entry in info["types"].values())
    assert stored == sum(int(t.n_bytes) for t in gguf.GGUFReader(path).tensors)
    analyzer.print_summary()
    printed = capsys.readouterr().out
    assert "Q8_0" in printed
    assert "qwen3.block_count" in printed


def test_type_table_is_the_librarys() -> None:
    ours = {int(kind): (kind.name.lower(), *sizes) for kind, sizes in BLOCK_SIZES.items()}
    assert ours == {t.number: (t.name.lower(), t.block_size, t.type_size) for t in all_types().values()}
    assert set(GgmlType) - set(BLOCK_SIZES) == {GgmlType.ANY}


def test_type_table_is_the_gguf_packages() -> None:
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    theirs[9] = ("Q8_1", 32, 36)  # it counts two floats beside a block where ggml has two halves
    ours = {int(kind): (kind.name, *sizes) for kind, sizes in BLOCK_SIZES.items()}
    assert {number: ours.get(number) for number in theirs} == theirs


def test_bad_file(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"x" * 100)
    with pytest.raises(FormatError):
        GGUFAnalyzer(tmp_path / "x.gguf")
