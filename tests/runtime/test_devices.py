"""Devices, types, build information."""

from __future__ import annotations

import json

import numpy as np
import pytest

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import GgmlError, InvalidArgumentError, UnsupportedError
from executorch_ggml.runtime import types
from executorch_ggml.runtime.devices import build_info, default_threads, devices

pytestmark = pytest.mark.quick


def test_there_is_a_cpu() -> None:
    cpus = [device for device in devices() if device.type == "cpu"]
    assert len(cpus) == 1
    assert cpus[0].usable
    assert cpus[0].memory_total > 1 << 28


def test_default_threads() -> None:
    import os

    assert 1 <= default_threads() <= len(os.sched_getaffinity(0))


def test_build_info() -> None:
    info = build_info()
    assert info["path"].endswith((".so", ".dylib"))
    assert "0.20.0" in json.dumps(info)


def test_type_table_agrees_with_gguf_py() -> None:
    import gguf

    known = types.all_types()
    assert len(known) > 25
    compared = 0
    for kind in known.values():
        try:
            name = gguf.GGMLQuantizationType(kind.number)
        except ValueError:  # newer than this gguf-py
            continue
        if kind.name == "q8_1":  # ggml's own working format; gguf-py has it in a form of long ago
            continue
        assert gguf.GGML_QUANT_SIZES[name] == (kind.block_size, kind.type_size), kind.name
        compared += 1
    assert compared > 25
    assert types.ggml_type("q4_K") == types.ggml_type(12)


@pytest.mark.parametrize("which", [4, 5, 31, 36, 999, -1, "q4_2", ""])
def test_unknown_types(which: int | str) -> None:
    with pytest.raises(UnsupportedError):
        types.ggml_type(which)


@pytest.mark.parametrize("name", ["q8_0", "q4_0", "q5_1", "q4_k", "q6_k", "q2_k", "iq4_xs", "bf16", "f16", "f32"])
def test_quantise_and_back(name: str) -> None:
    import gguf

    values = np.random.default_rng(1).standard_normal((3, 2, 512)).astype(np.float32)
    kind = types.ggml_type(name)
    data = types.quantize(values, name)
    assert data.shape == (3, 2, kind.row_bytes(512))
    back = types.dequantize(data, name, values.shape)
    assert nmse(back, values) < {"q2_k": 0.1, "f32": 1e-30, "f16": 1e-6, "bf16": 1e-5, "q8_0": 1e-4}.get(name, 0.02)
    theirs = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(kind.number))
    assert np.allclose(back, theirs, rtol=1e-6, atol=1e-7)


def test_bad_shapes() -> None:
    with pytest.raises(InvalidArgumentError, match="block of 32"):
        types.quantize(np.zeros((2, 33), np.float32), "q8_0")
    with pytest.raises(InvalidArgumentError):
        types.dequantize(np.zeros(10, np.uint8), "q8_0", (1, 32))
    with pytest.raises(InvalidArgumentError):
        types.quantize(np.float32(1.0), "f32")
    with pytest.raises(InvalidArgumentError, match="importance"):
        types.quantize(np.zeros((2, 32), np.float32), "q8_0", importance=np.ones(31))


def test_importance() -> None:
    values = np.random.default_rng(1).standard_normal((2, 256)).astype(np.float32)
    alike = types.quantize(values, "q4_0", importance=np.ones(256))
    assert alike.shape == (2, 144)
    assert types.quantize(values, "iq2_xxs").shape == (2, 66)  # a type that cannot do without: all alike then
    even = np.tile([1.0, 1e-3], 128)  # elements of one block differ in weight

    def error_of_even(data: np.ndarray) -> float:
        return float(((types.dequantize(data, "q4_0", (2, 256)) - values)[:, ::2] ** 2).sum())

    weighted = types.quantize(values, "q4_0", importance=even)
    assert error_of_even(weighted) < error_of_even(alike)
    with pytest.raises(GgmlError, match="importance"):
        types.quantize(values, "q4_0", importance=np.full(256, np.nan))
