"""Headers that must be refused: magic, version, counts, and a file cut off anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_bytes import ARCHITECTURE, Image, Refuse, Tensor, u32, u64, valid

from executorch_ggml.errors import FormatError, UnsupportedError
from executorch_ggml.runtime.gguf_file import GGUFFile

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ["empty"]),
        (b"GGU", ["3 bytes"]),
        (b"\x7fELF" + bytes(60), ["magic", "ELF"]),
        (b"FUGG" + bytes(60), ["magic"]),
        (b"ggjt\x03\0\0\0" + bytes(60), ["magic"]),
        (b"tjgg\x03\0\0\0" + bytes(60), ["before GGUF"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["git lfs pull"]),
        (b"<!DOCTYPE html><html></html>", ["HTML", "download"]),
        (b"PK\x03\x04" + bytes(60), ["zip"]),
        (u64(10) + b'{"a":{}}  ', ["safetensors"]),
    ],
)
def test_not_a_gguf(refuse: Refuse, content: bytes, words: list[str]) -> None:
    refuse(content, FormatError, *words)


@pytest.mark.parametrize(
    "version, kind, words",
    [
        (0, FormatError, ["version 0"]),
        (1, UnsupportedError, ["version 1", "convert"]),
        (4, UnsupportedError, ["version 4", "newer"]),
        (0x7FFFFFFF, UnsupportedError, ["newer"]),
        (0x03000000, UnsupportedError, ["byte-swapped", "big-endian"]),
        (0x02000000, UnsupportedError, ["byte-swapped"]),
    ],
)
def test_version(refuse: Refuse, version: int, kind: type[FormatError], words: list[str]) -> None:
    refuse(Image([ARCHITECTURE], version=version), kind, *words)


@pytest.mark.parametrize("version", [2, 3])
def test_versions_that_are_read(tmp_path: Path, version: int) -> None:
    image = valid()
    image.version = version
    path = tmp_path / "ok.gguf"
    path.write_bytes(bytes(image))
    with GGUFFile(path) as file:
        assert file.info["version"] == version


@pytest.mark.parametrize("count", [-1, -(2**63), 2**40, 2**62, 2**63 - 1])
def test_impossible_counts(refuse: Refuse, count: int) -> None:
    word = "negative" if count < 0 else "impossible"
    refuse(Image([ARCHITECTURE], [Tensor("a", [8])], n_tensors=count), FormatError, "tensor count", word)
    refuse(Image([ARCHITECTURE], [Tensor("a", [8])], n_kv=count), FormatError, "metadata count", word)


def test_counts_off_by_one(refuse: Refuse) -> None:
    tensors = [Tensor("a", [8]), Tensor("b", [8])]
    refuse(Image([ARCHITECTURE], tensors, n_tensors=3), FormatError)
    refuse(Image([ARCHITECTURE], tensors, n_tensors=1), FormatError)
    refuse(Image([ARCHITECTURE], tensors, n_kv=2), FormatError)
    refuse(Image([ARCHITECTURE, ARCHITECTURE.replace(b"arch", b"hcra")], tensors, n_kv=1), FormatError)


def test_too_many_keys(refuse: Refuse) -> None:
    many = [u64(4) + b"%04x" % i + u32(0) + b"\0" for i in range(65537)]
    refuse(Image(many), FormatError, "metadata count", "limit")


def test_truncated_at_every_byte(tmp_path: Path, good_file: Path) -> None:
    whole = good_file.read_bytes()
    assert 900 < len(whole) < 2000
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError) as caught:
            GGUFFile(path)
        assert "cut.gguf" in str(caught.value), length
    path.write_bytes(whole)
    GGUFFile(path).close()
