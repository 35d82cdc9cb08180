"""GGUF files byte by byte: a writer that can be told to lie anywhere. Knows nothing of the package under test."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Refuse = Callable[..., Exception]
"""type of the fixture `refuse`"""

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {
    U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d",
}  # fmt: skip

# ggml type number -> (elements, bytes) of a block, from the comments beside ggml's block structures
GGML_F32, GGML_F16, GGML_Q4_0, GGML_Q8_0, GGML_Q4_K, GGML_Q6_K, GGML_I32, GGML_BF16 = 0, 1, 2, 8, 12, 14, 26, 30
BLOCKS = {
    GGML_F32: (1, 4), GGML_F16: (1, 2), GGML_Q4_0: (32, 18), GGML_Q8_0: (32, 34), GGML_Q4_K: (256, 144),
    GGML_Q6_K: (256, 210), GGML_I32: (1, 4), GGML_BF16: (1, 2),
}  # fmt: skip


def u32(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return u64(len(raw)) + raw


def kv(key: str | bytes, kind: int, value: object) -> bytes:
    """An entry with a scalar or string value."""
    if kind == STRING:
        assert isinstance(value, (str, bytes))
        return text(key) + u32(kind) + text(value)
    return text(key) + u32(kind) + struct.pack("<" + FORMATS[kind], value)


def kv_array(key: str, kind: int, values: Sequence[object], *, count: int | None = None) -> bytes:
    """An entry with an array; count: what the file says instead of the truth."""
    n = len(values) if count is None else count
    if kind == STRING:
        encoded = b"".join(text(v) for v in values)  # type: ignore[arg-type]
    else:
        encoded = b"".join(struct.pack("<" + FORMATS[kind], v) for v in values)
    return text(key) + u32(ARRAY) + u32(kind) + u64(n) + encoded


@dataclass
class Tensor:
    """A record of the tensor table. Anything given overrides what would be right."""

    name: str | bytes
    ne: Sequence[int]
    kind: int = GGML_F32
    offset: int | None = None
    n_dims: int | None = None
    data: bytes | None = None

    def nbytes(self) -> int:
        elements = 1
        for n in self.ne:
            elements *= n
        block, size = BLOCKS.get(self.kind, (1, 4))
        return elements // block * size

    def record(self, offset: int) -> bytes:
        dims = b"".join(u64(n) for n in self.ne)
        n_dims = len(self.ne) if self.n_dims is None else self.n_dims
        at = offset if self.offset is None else self.offset
        return text(self.name) + u32(n_dims) + dims + u32(self.kind) + u64(at)


@dataclass
class Image:
    """A whole file. `bytes(image)` writes it; n_kv and n_tensors override the true counts."""

    kvs: Sequence[bytes] = ()
    tensors: Sequence[Tensor] = ()
    magic: bytes = b"GGUF"
    version: int = 3
    n_kv: int | None = None
    n_tensors: int | None = None
    alignment: int = 32
    data: bytes | None = None
    tail: bytes = b""
    header_padding: bool = True

    def __bytes__(self) -> bytes:
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_kv = len(self.kvs) if self.n_kv is None else self.n_kv
        head = self.magic + u32(self.version) + u64(n_tensors) + u64(n_kv) + b"".join(self.kvs)
        body, data, offset = b"", b"", 0
        for index, tensor in enumerate(self.tensors):
            body += tensor.record(offset)
            size = tensor.nbytes() if tensor.data is None else len(tensor.data)
            if size > 1 << 20:  # a record that lies about its size gets no data
                continue
            data += tensor.data if tensor.data is not None else bytes((index * 7 + i) % 251 for i in range(size))
            data += b"\0" * (-len(data) % self.alignment)
            offset = len(data)
        head += body
        if self.tensors and self.header_padding:
            head += b"\0" * (-len(head) % self.alignment)
        return head + (data if self.data is None else self.data) + self.tail


ARCHITECTURE = kv("general.architecture", STRING, "qwen3")


def valid() -> Image:
    """About 1 kB with one entry of every type and tensors of four types; ends with its last byte of data."""
    return Image(
        kvs=[
            ARCHITECTURE,
            kv("test.u8", U8, 200),
            kv("test.i8", I8, -100),
            kv("test.u16", U16, 60000),
            kv("test.i16", I16, -30000),
            kv("test.u32", U32, 4_000_000_000),
            kv("test.i32", I32, -2_000_000_000),
            kv("test.f32", F32, 0.5),
            kv("test.bool", BOOL, True),
            kv("test.u64", U64, 2**63 + 5),
            kv("test.i64", I64, -(2**62)),
            kv("test.f64", F64, 1e300),
            kv_array("test.words", STRING, ["one", "", "drei", "数"]),
            kv_array("test.numbers", I32, [1, -2, 3]),
            kv_array("test.flags", BOOL, [True, False]),
            kv_array("test.none", F32, []),
        ],
        tensors=[
            Tensor("token_embd.weight", [8, 4], GGML_F32),
            Tensor("blk.0.attn_q.weight", [32, 2], GGML_Q8_0),
            Tensor("blk.0.attn_norm.weight", [16], GGML_F16),
            Tensor("output.weight", [4, 2, 2, 2], GGML_F32),
        ],
    )
