"""Metadata that must be refused, and what may be strange but is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf_bytes import (
    ARCHITECTURE,
    ARRAY,
    BOOL,
    F32,
    I8,
    I32,
    STRING,
    U8,
    U16,
    U32,
    U64,
    Image,
    Refuse,
    Tensor,
    kv,
    kv_array,
    text,
    u32,
    u64,
)  # fmt: skip

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError
from executorch_ggml.runtime.gguf_file import GGUFFile

pytestmark = pytest.mark.quick


@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 8, 2**63, 2**32, 70])
def test_key_length_beyond_the_file(refuse: Refuse, length: int) -> None:
    refuse(
        Image([u64(length) + b"abc" + u32(0) + b"\0" + bytes(40)]), FormatError, "key of metadata entry 0", str(length)
    )


def test_key_too_long(refuse: Refuse) -> None:
    refuse(Image([kv("k" * 65536, U8, 1)]), FormatError, "key of metadata entry 0", "limit")


def test_longest_key(tmp_path: Path) -> None:
    path = tmp_path / "ok.gguf"
    path.write_bytes(bytes(Image([kv("k" * 65535, U8, 1)])))
    assert list(GGUFFile(path).metadata) == ["k" * 65535]


@pytest.mark.parametrize(
    "key, word", [(b"", "empty"), (b"a\0b", "NUL"), (b"\xff\xfe", "UTF-8"), (b"\xed\xa0\x80", "UTF-8")]
)
def test_bad_keys(refuse: Refuse, key: bytes, word: str) -> None:
    refuse(Image([ARCHITECTURE, kv(key, U32, 1), kv("pad", STRING, "x" * 20)]), FormatError, "metadata entry 1", word)


def test_duplicate_key(refuse: Refuse) -> None:
    refuse(
        Image([ARCHITECTURE, kv("a.b", U8, 1), ARCHITECTURE]),
        FormatError,
        "general.architecture",
        "duplicate",
        "0 and 2",
    )


@pytest.mark.parametrize("kind", [13, 14, 255, -1, -(2**31), 2**31 - 1])
def test_unknown_value_type(refuse: Refuse, kind: int) -> None:
    refuse(Image([text("strange") + u32(kind) + bytes(40)]), FormatError, "'strange'", "unknown value type", str(kind))
    array = text("strange") + u32(ARRAY) + u32(kind) + u64(1) + bytes(40)
    refuse(Image([array]), FormatError, "'strange'", "unknown value type", str(kind))


def test_array_of_arrays(refuse: Refuse) -> None:
    inner = u32(U8) + u64(1) + b"\1"
    refuse(
        Image([text("nested") + u32(ARRAY) + u32(ARRAY) + u64(1) + inner]),
        UnsupportedError,
        "'nested'",
        "array of arrays",
    )


def test_deep_nesting(refuse: Refuse) -> None:
    deep = (u32(ARRAY) + u64(1)) * 1_000_000
    refuse(Image([text("nested") + u32(ARRAY) + deep]), UnsupportedError, "'nested'", "array of arrays")


@pytest.mark.parametrize(
    "kind, count", [(U64, 2**61), (U64, 2**61 + 1), (U8, 2**64 - 1), (I32, 2**62), (STRING, 2**63), (I8, 1000)]
)
def test_array_count_beyond_the_file(refuse: Refuse, kind: int, count: int) -> None:
    image = Image([text("long") + u32(ARRAY) + u32(kind) + u64(count) + bytes(100)])
    refuse(image, FormatError, "'long'", str(count), "remain")


@pytest.mark.parametrize("length", [2**64 - 1, 2**64 - 8, 2**63, 1000])
def test_string_length_beyond_the_file(refuse: Refuse, length: int) -> None:
    refuse(
        Image([text("s") + u32(STRING) + u64(length) + bytes(100)]),
        FormatError,
        "the value of 's'",
        str(length),
        "remain",
    )
    element = text("s") + u32(ARRAY) + u32(STRING) + u64(2) + text("fine") + u64(length) + bytes(100)
    refuse(Image([element]), FormatError, "element 1", "'s'", str(length))


@pytest.mark.parametrize("value", [2, 255])
def test_bool_that_is_none(refuse: Refuse, value: int) -> None:
    refuse(Image([text("flag") + u32(BOOL) + bytes([value])]), FormatError, "'flag'", "bool", str(value))
    refuse(
        Image([kv_array("flags", U8, [0, 1, value]).replace(u32(ARRAY) + u32(U8), u32(ARRAY) + u32(BOOL))]),
        FormatError,
        "'flags'",
    )


@pytest.mark.parametrize("alignment", [0, 1, 3, 4, 13, 24, 2**21, 2**31])
def test_bad_alignment(refuse: Refuse, alignment: int) -> None:
    refuse(
        Image([kv("general.alignment", U32, alignment)], [Tensor("a", [8])]), FormatError, "alignment", str(alignment)
    )


@pytest.mark.parametrize(
    "entry",
    [
        kv("general.alignment", U16, 32),
        kv("general.alignment", U64, 32),
        kv("general.alignment", F32, 32.0),
        kv("general.alignment", STRING, "32"),
        kv_array("general.alignment", U32, [32]),
    ],
)
def test_alignment_of_another_type(refuse: Refuse, entry: bytes) -> None:
    refuse(Image([entry], [Tensor("a", [8])]), FormatError, "general.alignment", "u32")


def test_alignment_twice(refuse: Refuse) -> None:
    twice = [kv("general.alignment", U32, 32), kv("general.alignment", U32, 64)]
    refuse(Image(twice, [Tensor("a", [8])]), FormatError, "general.alignment", "duplicate")


@pytest.mark.parametrize("alignment", [8, 16, 64, 4096])
def test_alignments_that_are_read(tmp_path: Path, alignment: int) -> None:
    path = tmp_path / "ok.gguf"
    tensors = [Tensor("a", [3]), Tensor("b", [5])]
    path.write_bytes(bytes(Image([kv("general.alignment", U32, alignment)], tensors, alignment=alignment)))
    with GGUFFile(path) as file:
        assert [t.file_offset % alignment for t in file.tensors.values()] == [0, 0]
        assert file.tensors["b"].numpy().tobytes() == bytes((7 + i) % 251 for i in range(20))


def test_limits_can_be_lowered_and_raised(tmp_path: Path) -> None:
    path = tmp_path / "limits.gguf"
    path.write_bytes(bytes(Image([kv("s", STRING, "x" * 1000), kv_array("a", U8, [1] * 100)])))
    with pytest.raises(FormatError, match=r"'s'.*max_string"):
        GGUFFile(path, max_string=999)
    with pytest.raises(FormatError, match=r"'a'.*max_array"):
        GGUFFile(path, max_array=99)
    assert GGUFFile(path, max_string=1000, max_array=100).metadata["s"] == "x" * 1000
    with pytest.raises(InvalidArgumentError, match="max_string"):
        GGUFFile(path, max_string=-1)


def test_chat_template_of_100_mb(refuse: Refuse, tmp_path: Path) -> None:
    path = tmp_path / "big.gguf"
    with path.open("wb") as file:  # sparse: only its ends are written
        head = b"GGUF" + u32(3) + u64(0) + u64(1) + text("tokenizer.chat_template") + u32(STRING) + u64(100_000_000)
        file.write(head)
        file.truncate(len(head) + 100_000_000)
    refuse(path, FormatError, "tokenizer.chat_template", "max_string")


def test_elements_of_one_byte_are_not_read_as_more(tmp_path: Path) -> None:
    """An int8 array where a tokenizer has int32: typed as in the file, and exactly as long."""
    path = tmp_path / "types.gguf"
    path.write_bytes(bytes(Image([kv_array("tokenizer.ggml.token_type", I8, [1, -1, 3])])))
    metadata = GGUFFile(path).metadata
    assert metadata.type_of("tokenizer.ggml.token_type") == "array[i8]"
    assert metadata["tokenizer.ggml.token_type"].dtype == np.int8
    assert metadata["tokenizer.ggml.token_type"].tolist() == [1, -1, 3]


def test_text_that_is_not_utf8_survives(tmp_path: Path) -> None:
    path = tmp_path / "bytes.gguf"
    path.write_bytes(bytes(Image([kv_array("tokens", STRING, [b"\xff\x00a", b"ok"]), kv("one", STRING, b"\xc3")])))
    metadata = GGUFFile(path).metadata
    assert metadata.raw_strings("tokens") == [b"\xff\x00a", b"ok"]
    assert metadata["tokens"][0].encode(errors="surrogateescape") == b"\xff\x00a"
    assert metadata.raw_strings("one") == [b"\xc3"]
