"""The header reader: right on files that others write, and a typed error on every kind of broken one."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executorch_ggml.errors import FileError, FormatError, GgmlError, UnsupportedError
from executorch_ggml.gguf.header import read_header
from tests.support.gguf_file import GgufFile, encode_kv, shard_path
from tests.support.gguf_layouts import ARRAY, BOOL, F32, I32, STRING, U32, Kv
from tests.support.make_gguf import write_gguf


def test_agrees_with_gguf_py(make_gguf: Any) -> None:
    path = make_gguf("qwen3moe", type="q8_0")
    header, reader = read_header(path), gguf.GGUFReader(path)
    ours = [(t.name, t.shape, t.type) for t in header.tensors.values()]
    theirs = [(t.name, tuple(int(n) for n in reversed(t.shape)), int(t.tensor_type)) for t in reader.tensors]
    assert ours == theirs
    for key, field in reader.fields.items():
        if not key.startswith("GGUF."):
            assert header[key] == field.contents(), key


def test_every_value_type(tmp_path: Path) -> None:
    kvs = [
        Kv("a.u8", 0, 200), Kv("a.i8", 1, -3), Kv("a.u16", 2, 60000), Kv("a.i16", 3, -30000), Kv("a.u32", U32, 1 << 31),
        Kv("a.i32", I32, -5), Kv("a.f32", F32, 0.5), Kv("a.bool", BOOL, True), Kv("a.str", STRING, "héllo"),
        Kv("a.u64", 10, 1 << 63), Kv("a.i64", 11, -(1 << 62)), Kv("a.f64", 12, 0.1), Kv("a.strs", ARRAY, ["x", ""], 8),
        Kv("a.ints", ARRAY, [1, -2], I32), Kv("a.bools", ARRAY, [True, False], BOOL), Kv("a.none", ARRAY, [], F32),
    ]  # fmt: skip
    GgufFile(tmp_path / "x.gguf", kvs, []).close()
    header = read_header(tmp_path / "x.gguf")
    assert {key: header[key] for key in header} == {kv.key: kv.value for kv in kvs}
    assert header.length("a.strs") == 2
    with pytest.raises(FormatError, match=r"'a\.str' should be an array, but is 'héllo'"):
        header.length("a.str")
    with pytest.raises(KeyError):
        header.length("a.nothing")


def _header(kvs: bytes, n_kv: int, tensors: bytes = b"", n_tensors: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_kv) + kvs + tensors


def _tensor(name: bytes = b"t", dims: tuple[int, ...] = (4,), kind: int = 0) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, 0)


KV = encode_kv(Kv("k", U32, 1))
BROKEN: list[tuple[str, bytes, type[GgmlError], str]] = [
    ("empty", b"", FileError, "cannot be read"),
    ("no-magic", b"GGML" + bytes(60), FormatError, "not a GGUF"),
    ("magic-only", b"GGUF", FormatError, "version"),
    ("version-1", _header(KV, 1, version=1) + bytes(64), UnsupportedError, "version 1"),
    ("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), UnsupportedError, "big-endian"),
    ("too-many-kv", _header(KV, 1 << 60), FormatError, "announces"),
    ("too-many-tensors", _header(KV, 1, b"", 1 << 60), FormatError, "announces"),
    ("key-too-long", _header(struct.pack("<Q", 1 << 62) + bytes(64), 1), FormatError, "key of metadata entry 0"),
    ("unknown-type", _header(encode_kv(Kv("k", U32, 1))[:-8] + struct.pack("<II", 99, 1), 1), FormatError, "type 99"),
    ("duplicate-key", _header(KV + KV, 2), FormatError, "'k' occurs twice"),
    (
        "array-of-arrays",
        _header(encode_kv(Kv("k", STRING, ""))[:-12] + struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(32), 1),
        FormatError,
        "array of type 9",
    ),
    (
        "array-count",
        _header(encode_kv(Kv("k", ARRAY, [1], I32))[:-12] + struct.pack("<Q", 1 << 61) + bytes(64), 1),
        FormatError,
        "needs",
    ),
    (
        "string-array-count",
        _header(encode_kv(Kv("k", ARRAY, ["x"], STRING))[:-17] + struct.pack("<Q", 1 << 61) + bytes(64), 1),
        FormatError,
        "needs",
    ),
    ("five-dims", _header(KV, 1, _tensor(dims=(1, 1, 1, 1, 1)), 1), FormatError, "5 dimensions"),
    ("no-dims", _header(KV, 1, _tensor(dims=()) + bytes(16), 1), FormatError, "0 dimensions"),
    ("zero-extent", _header(KV, 1, _tensor(dims=(4, 0)), 1), FormatError, "impossible shape"),
    ("overflow", _header(KV, 1, _tensor(dims=(1 << 40, 1 << 40)), 1), FormatError, "impossible shape"),
    ("long-name", _header(KV, 1, _tensor(name=b"x" * 64), 1), FormatError, "64 characters"),
    ("duplicate-tensor", _header(KV, 1, _tensor() + _tensor(), 2), FormatError, "'t' occurs twice"),
]


@pytest.mark.parametrize("data, error, message", [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_broken(tmp_path: Path, data: bytes, error: type[GgmlError], message: str) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(data)
    with pytest.raises(error, match=r"broken\.gguf") as caught:
        read_header(path)
    assert message in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere\.gguf"):
        read_header(tmp_path / "nowhere.gguf")
    with pytest.raises(FileError):
        read_header(tmp_path)


def test_truncated_anywhere(make_gguf: Any, tmp_path: Path) -> None:
    """Cut at every byte of the header: an error each time, never a half-read table."""
    whole = make_gguf("qwen3", layers=1).read_bytes()
    names = len(read_header(make_gguf("qwen3", layers=1)).tensors)
    end = whole.index(b"output_norm.weight") + len(b"output_norm.weight") + 4 + 8 + 4 + 8
    path = tmp_path / "cut.gguf"
    for size in range(1, end, 7):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError):
            read_header(path)
    path.write_bytes(whole[:end])
    assert len(read_header(path).tensors) == names


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_escape(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the corruption, the outcome is a header or a GgmlError."""
    folder = tmp_path_factory.getbasetemp() / "flip"
    folder.mkdir(exist_ok=True)
    source = folder / "source.gguf"
    if not source.exists():
        write_gguf(source, layers=1)
    raw = bytearray(source.read_bytes()[:2500])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, 1200))] = data.draw(st.integers(0, 255))
    path = folder / "flipped.gguf"
    path.write_bytes(raw)
    try:
        header = read_header(path)
        for key in header:
            _ = header[key]
    except GgmlError:
        pass


def test_split(make_gguf: Any, tmp_path: Path) -> None:
    shards = write_gguf(tmp_path / "m.gguf", split_tensors=7)
    assert [s.name for s in shards] == [f"m-{i:05d}-of-00004.gguf" for i in (1, 2, 3, 4)]
    header, whole = read_header(shards[0]), read_header(make_gguf("qwen3"))
    assert header.tensors == whole.tensors
    assert header.paths == shards
    with pytest.raises(FormatError, match="open the first"):
        read_header(shards[1])
    lonely = shards[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(FormatError, match="00001-of-00004"):
        read_header(lonely)
    lonely.rename(shards[0])
    shards[2].unlink()
    with pytest.raises(FileError, match="m-00003-of-00004"):
        read_header(shards[0])
    assert shard_path(Path("a/b.gguf"), 0, 2) == Path("a/b-00001-of-00002.gguf")


def test_needs_no_torch(make_gguf: Any) -> None:
    """Reading and analysing a model, and the choices of an export, work in a process that never imports torch."""
    code = (
        "import sys; from executorch_ggml.gguf.summary import GGUFAnalyzer;"
        "from executorch_ggml import GGUFExportConfig;"
        f"a = GGUFAnalyzer({str(make_gguf('gemma3'))!r}); a.print_summary();"
        "assert GGUFExportConfig(max_seq_len=32).max_seq_len == 32;"
        "assert 'torch' not in sys.modules and 'executorch' not in sys.modules, 'torch was imported'"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "gemma3" in run.stdout
