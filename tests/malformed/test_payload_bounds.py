"""Payloads that nobody has verified: decoding them takes no more than their bytes, and every fault is one error."""

from __future__ import annotations

import random
import time
from typing import Any

import flatbuffers
import pytest

from executorch_ggml.ir._ggml_ir import VERSION
from executorch_ggml.ir.dump import dump
from executorch_ggml.ir.errors import IrError
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.runtime.program import payloads


def finish(builder: flatbuffers.Builder, slot: int, vector: int) -> bytes:
    """A graph that has one of its vectors."""
    builder.StartObject(15)
    builder.PrependUint32Slot(0, 2, 0)
    builder.PrependUOffsetTRelativeSlot(slot, vector, 0)
    builder.Finish(builder.EndObject(), b"GGIR")
    return bytes(builder.Output())


def vector(builder: flatbuffers.Builder, item: int, count: int) -> int:
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def table(builder: flatbuffers.Builder, **slots: int) -> int:
    builder.StartObject(8)
    for name, value in slots.items():
        builder.PrependUOffsetTRelativeSlot(int(name[1:]), value, 0)
    return int(builder.EndObject())


def shared_keys(parts: int, keys: int) -> bytes:
    b = flatbuffers.Builder(0)
    key = b.CreateString("k")
    part = table(b, _0=vector(b, key, keys))
    slot = table(b, _0=key, _1=vector(b, part, parts))
    return finish(b, 8, vector(b, slot, 4000))


def shared_names(slot: int) -> bytes:
    b = flatbuffers.Builder(0)
    name = b.CreateString("n" * 40_000)
    return finish(b, slot, vector(b, table(b, _0=name), 10_000))


@pytest.mark.parametrize(
    "payload",
    [shared_keys(4000, 4000), shared_keys(60, 15), shared_names(3), shared_names(6), shared_names(8), shared_names(12)],
)
def test_vectors_and_strings_shared_between_tables(payload: bytes) -> None:
    start = time.process_time()
    with pytest.raises(IrError):
        deserialize(payload)
    assert time.process_time() - start < 2


def test_damaged_payloads(mlp: Any) -> None:
    good = payloads(mlp.pte)[0].data
    assert deserialize(good).version == VERSION
    rng = random.Random(1)
    refused = 0
    for _ in range(300):
        bad = bytearray(good)
        at = rng.randrange(len(bad) - 4)
        bad[at : at + 4] = rng.choice([b"\xff\xff\xff\x7f", b"\0\0\0\x80", rng.randbytes(4)])
        try:
            deserialize(bytes(bad))
        except IrError:
            refused += 1
    assert refused > 50


def test_a_good_payload_is_shown(mlp: Any) -> None:
    assert "MulMat" in dump(payloads(mlp.pte)[0].data)
