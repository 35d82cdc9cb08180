"""Tensor tables and data sections that must be refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from gguf_bytes import (
    ARCHITECTURE,
    GGML_F16,
    GGML_F32,
    GGML_Q4_0,
    GGML_Q4_K,
    GGML_Q8_0,
    Image,
    Refuse,
    Tensor,
    text,
    u32,
    u64,
)  # fmt: skip

from executorch_ggml.errors import FormatError, UnsupportedError
from executorch_ggml.runtime.gguf_file import GGUFFile

pytestmark = pytest.mark.quick


def image(*tensors: Tensor, **changes: object) -> Image:
    return Image([ARCHITECTURE], list(tensors), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, words",
    [
        (b"", ["name of tensor 1", "empty"]),
        (b"n" * 64, ["name of tensor 1", "64", "limit of 63"]),
        (b"a\0b", ["name of tensor 1", "NUL"]),
        (b"\xff", ["name of tensor 1", "UTF-8"]),
    ],
)
def test_bad_names(refuse: Refuse, name: bytes, words: list[str]) -> None:
    refuse(image(Tensor("first", [8]), Tensor(name, [8])), FormatError, *words)


def test_longest_name(tmp_path: Path) -> None:
    path = tmp_path / "ok.gguf"
    path.write_bytes(bytes(image(Tensor("n" * 63, [8]))))
    assert list(GGUFFile(path).tensors) == ["n" * 63]


def test_duplicate_name(refuse: Refuse) -> None:
    tensors = Tensor("same", [8]), Tensor("other", [8]), Tensor("same", [8])
    refuse(image(*tensors), FormatError, "'same'", "duplicate", "0 and 2")


@pytest.mark.parametrize("length", [2**64 - 1, 2**63, 5000])
def test_name_length_beyond_the_file(refuse: Refuse, length: int) -> None:
    head = b"GGUF" + u32(3) + u64(1) + u64(0)
    refuse(head + u64(length) + b"name" + bytes(100), FormatError, "name of tensor 0", str(length))


@pytest.mark.parametrize("n_dims", [0, 5, 255, 2**31, 2**32 - 1])
def test_number_of_dimensions(refuse: Refuse, n_dims: int) -> None:
    refuse(image(Tensor("t", [8], n_dims=n_dims)), FormatError, "tensor 't'", f"{n_dims} dimensions")


@pytest.mark.parametrize("n", [0, -1, -(2**63)])
@pytest.mark.parametrize("position", [0, 1, 3])
def test_dimension_below_one(refuse: Refuse, n: int, position: int) -> None:
    ne = [8, 1, 1, 1]
    ne[position] = n
    refuse(image(Tensor("t", ne, data=b"")), FormatError, "tensor 't'", f"dimension {position}", str(n))


@pytest.mark.parametrize("ne", [[2**62, 4], [2**32, 2**32], [2**31, 2**31, 2], [2**16] * 4, [2**63 - 1, 2**63 - 1]])
def test_number_of_elements_wraps(refuse: Refuse, ne: list[int]) -> None:
    refuse(image(Tensor("t", ne, data=b"")), FormatError, "tensor 't'", "elements", "overflows")


@pytest.mark.parametrize(
    "ne, kind", [([2**62 - 1], GGML_F32), ([2**62], GGML_F16), ([2**61 - 1, 2], GGML_F32), ([2**63 - 32], GGML_Q8_0)]
)
def test_size_in_bytes_wraps(refuse: Refuse, ne: list[int], kind: int) -> None:
    refuse(image(Tensor("t", ne, kind, data=b"")), FormatError, "tensor 't'", "bytes", "overflows")


def test_size_beyond_any_file(refuse: Refuse) -> None:
    refuse(image(Tensor("t", [2**60], data=b"")), FormatError, "'t'", "beyond the end of the file")


@pytest.mark.parametrize(
    "ne0, kind, block", [(33, GGML_Q8_0, 32), (1, GGML_Q4_0, 32), (128, GGML_Q4_K, 256), (288, GGML_Q4_K, 256)]
)
def test_rows_of_partial_blocks(refuse: Refuse, ne0: int, kind: int, block: int) -> None:
    refuse(
        image(Tensor("t", [ne0, 256], kind, data=bytes(65536))),
        FormatError,
        "tensor 't'",
        f"block of {block}",
        str(ne0),
    )


@pytest.mark.parametrize("kind", [4, 5, 31, 32, 33, 36, 37, 38])
def test_removed_types(refuse: Refuse, kind: int) -> None:
    refuse(image(Tensor("t", [256], kind, data=bytes(1024))), UnsupportedError, "tensor 't'", f"type {kind}", "removed")


@pytest.mark.parametrize("kind", [43, 64, 255, 2**31 - 1, -1, -(2**31)])
def test_unknown_types(refuse: Refuse, kind: int) -> None:
    refuse(image(Tensor("t", [256], kind, data=bytes(1024))), UnsupportedError, "tensor 't'", f"type {kind}", "unknown")


@pytest.mark.parametrize("offset", [1, 4, 8, 31, 33])
def test_unaligned_offset(refuse: Refuse, offset: int) -> None:
    refuse(
        image(Tensor("t", [8], offset=offset), tail=bytes(64)),
        FormatError,
        "'t'",
        str(offset),
        "multiple of the alignment",
    )


@pytest.mark.parametrize("offset", [2**64 - 32, 2**64 - 64, 2**63, 2**63 - 32, 2**40])
def test_offset_beyond_the_file(refuse: Refuse, offset: int) -> None:
    refuse(image(Tensor("a", [8]), Tensor("t", [8], offset=offset)), FormatError, "'t'", str(offset), "beyond the end")


def test_data_one_byte_short(refuse: Refuse) -> None:
    whole = bytes(image(Tensor("t", [8])))
    refuse(whole[:-1], FormatError, "'t'", "beyond the end", "31 bytes")


def test_padding_after_the_last_tensor_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "ok.gguf"
    whole = bytes(image(Tensor("t", [3])))
    path.write_bytes(whole[:-20])
    assert GGUFFile(path).tensors["t"].nbytes == 12


def test_tensors_out_of_order(refuse: Refuse) -> None:
    tensors = Tensor("a", [8], offset=32), Tensor("b", [8], offset=0)
    refuse(image(*tensors), FormatError, "'a'", "gap of 32")


def test_descending_offset(refuse: Refuse) -> None:
    tensors = Tensor("a", [8], offset=0), Tensor("b", [8], offset=32), Tensor("c", [8], offset=0)
    refuse(image(*tensors), FormatError, "'c'", "overlaps", "'b'")


@pytest.mark.parametrize("offset", [0, 32])
def test_overlap(refuse: Refuse, offset: int) -> None:
    tensors = Tensor("a", [16], offset=0), Tensor("b", [8], offset=offset)
    refuse(image(*tensors), FormatError, "'b'", "overlaps", "'a'")


def test_gap(refuse: Refuse) -> None:
    refuse(image(Tensor("a", [8]), Tensor("b", [8], offset=64), tail=bytes(32)), FormatError, "'b'", "gap of 32")


def test_data_section_beyond_the_end(refuse: Refuse) -> None:
    refuse(image(Tensor("t", [8]), data=b"", header_padding=False), FormatError, "truncated")


def test_something_after_the_last_tensor(refuse: Refuse) -> None:
    refuse(image(Tensor("t", [8]), tail=b"GGUF" + bytes(100)), FormatError, "104 bytes follow")
    refuse(Image([ARCHITECTURE], tail=bytes(100) + b"x"), FormatError, "follow")


def test_zeros_after_the_last_tensor(tmp_path: Path, refuse: Refuse) -> None:
    path = tmp_path / "ok.gguf"
    path.write_bytes(bytes(image(Tensor("t", [8]), tail=bytes(5000))))
    assert len(GGUFFile(path).tensors) == 1
    refuse(image(Tensor("t", [8]), tail=bytes((1 << 20) + 1)), FormatError, "follow")


def test_messages_show_hostile_names_harmlessly(refuse: Refuse) -> None:
    error = refuse(image(Tensor("\x1b[31mred\n", [8], 99, data=bytes(32))), UnsupportedError, "\\x1b[31mred\\x0a")
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)


def test_no_tensors_and_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "empty.gguf"
    path.write_bytes(b"GGUF" + u32(3) + u64(0) + u64(0))
    with GGUFFile(path) as file:
        assert (len(file.tensors), len(file.metadata)) == (0, 0)


def test_record_cut_by_the_end(refuse: Refuse) -> None:
    head = b"GGUF" + u32(3) + u64(1) + u64(0)
    record = text("t") + u32(2) + u64(8) + u64(1) + u32(0)  # no offset
    refuse(head + record, FormatError, "'t'", "truncated")
