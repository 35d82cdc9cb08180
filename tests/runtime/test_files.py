"""Files: inputs are regular ones, outputs replace nothing that holds weights and appear complete or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from executorch_ggml.errors import FileError, InvalidArgumentError, files
from executorch_ggml.gguf.header import read_header
from executorch_ggml.gguf.summary import GGUFAnalyzer
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

GGUF = Path(__file__).parents[2] / "assets" / "scripture-2.9m-q8_0.gguf"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    path.write_bytes(GGUF.read_bytes())
    return path


def readers() -> list[Callable[[Path], Any]]:
    def export(path: Path) -> Any:
        return export_gguf_to_pte(path, path.with_suffix(".pte"))

    return [files.open_regular, files.check_regular, read_header, GGUFAnalyzer, export]


@pytest.mark.parametrize("reader", readers())
def test_inputs_that_are_no_files(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    """None of them may wait: a FIFO that nobody writes to would last for ever."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to(fifo)
    for path, kind in (
        (fifo, "FIFO"),
        (tmp_path / "link", "FIFO"),
        (tmp_path, "directory"),
        (Path("/dev/null"), "dev"),
    ):
        with pytest.raises(FileError, match=kind):
            reader(path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "none", tmp_path / "loop", tmp_path / ("x" * 5000), Path("a\0b")):
        with pytest.raises(FileError):
            reader(path)


def test_an_output_that_is_the_input(weights: Path, tmp_path: Path) -> None:
    before = weights.read_bytes()
    (tmp_path / "symbolic").symlink_to(weights)
    os.link(weights, tmp_path / "hard")
    (tmp_path / "sub").mkdir()
    names = [weights, tmp_path / "symbolic", tmp_path / "hard", tmp_path / "sub" / ".." / "m.gguf"]
    for target in names:
        with pytest.raises(InvalidArgumentError, match="input"):
            export_gguf_to_pte(weights, target)
    for source in names[1:]:
        with pytest.raises(InvalidArgumentError, match="input"):
            export_gguf_to_pte(source, weights)
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    "head", [b"GGUF\3\0", b"PK\3\4" + bytes(40), b"\x02" + bytes(7) + b"{}", bytes(257) + b"ustar"]
)
def test_other_weights_are_not_replaced_either(head: bytes, weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(head + bytes(20))
    with pytest.raises(InvalidArgumentError, match="holds weights"):
        export_gguf_to_pte(weights, other)
    assert other.read_bytes() == head + bytes(20)


@pytest.mark.parametrize("target", ["/dev/null", "folder", "fifo"])
def test_outputs_that_are_no_files(target: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    path = tmp_path / target
    mode = stat.S_IFMT(path.stat().st_mode)
    with pytest.raises(FileError, match="not a regular file"):
        files.write_atomically(path, lambda file: file.write(b"x"))
    assert stat.S_IFMT(path.stat().st_mode) == mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    for text in (b"one", b"two"):  # first it leads nowhere
        files.write_atomically(link, lambda file, text=text: file.write(text))  # type: ignore[misc]
        assert link.is_symlink()
        assert real.read_bytes() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "m.pte"
    target.write_bytes(b"old")

    def full(file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(FileError, match=r"m\.pte: cannot be written: No space left"):
        files.write_atomically(target, full)
    with pytest.raises(KeyError):
        files.write_atomically(target, lambda file: {}["x"])
    assert [path.name for path in tmp_path.iterdir()] == ["m.pte"]
    assert target.read_bytes() == b"old"


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write_atomically(tmp_path / "m.pte", lambda file: file.write(b"x"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "m.pte").stat().st_mode) == 0o640


@pytest.mark.parametrize("value", [0, -1, 2**31, 2**62, True, 1.5, "8", None])
def test_context_lengths(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_seq_len"):
        GGUFExportConfig(max_seq_len=value)
