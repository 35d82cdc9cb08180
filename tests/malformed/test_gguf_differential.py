"""The same files through three readers: ours, gguf-py's and ggml's own.

Whatever we accept, both others must accept too and read alike. The other way round ours is stricter on purpose.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_bytes import (
    ARCHITECTURE,
    GGML_BF16,
    GGML_I32,
    GGML_Q4_0,
    GGML_Q4_K,
    GGML_Q6_K,
    GGML_Q8_0,
    Image,
    Tensor,
    valid,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executorch_ggml.errors import GgmlError
from executorch_ggml.runtime._load import library_path
from executorch_ggml.runtime.gguf_file import GGUFFile


class _InitParams(ctypes.Structure):  # struct gguf_init_params
    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p)]


@pytest.fixture(scope="module")
def ggml() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(library_path().parent / "libetggml-base.so"))
    lib.etg_gguf_init_from_file.restype = ctypes.c_void_p
    lib.etg_gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    lib.etg_gguf_free.argtypes = [ctypes.c_void_p]
    lib.etg_gguf_get_n_tensors.restype = lib.etg_gguf_get_n_kv.restype = ctypes.c_int64
    lib.etg_gguf_get_n_tensors.argtypes = lib.etg_gguf_get_n_kv.argtypes = [ctypes.c_void_p]
    lib.etg_gguf_get_data_offset.restype = lib.etg_gguf_get_tensor_offset.restype = ctypes.c_size_t
    lib.etg_gguf_get_data_offset.argtypes = [ctypes.c_void_p]
    lib.etg_gguf_find_tensor.restype = ctypes.c_int64
    lib.etg_gguf_find_tensor.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    lib.etg_gguf_get_tensor_offset.argtypes = lib.etg_gguf_get_tensor_type.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    return lib


def same_value(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float):
        return bool(np.float64(ours) == np.float64(theirs)) or ours != ours
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, np.array(theirs, dtype=ours.dtype), equal_nan=ours.dtype.kind == "f")
    return bool(ours == theirs)


def compare_with_gguf_py(file: GGUFFile, path: Path) -> None:
    reader = gguf.GGUFReader(path)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert set(file.metadata) == set(fields)
    for key, value in file.metadata.items():
        try:
            theirs = fields[key].contents()
        except UnicodeDecodeError:  # we read text that is not UTF-8, as bytes
            field = fields[key]
            assert file.metadata.raw_strings(key) == [field.parts[i].tobytes() for i in field.data]
            continue
        if theirs is None or theirs == []:  # gguf-py's answer for an array without elements
            assert len(value) == 0
            continue
        assert same_value(value, theirs), key
    assert [t.name for t in file.tensors.values()] == [t.name for t in reader.tensors]
    for ours, theirs in zip(file.tensors.values(), reader.tensors, strict=True):
        assert ours.type_number == int(theirs.tensor_type)
        assert ours.ne == tuple(int(n) for n in theirs.shape)
        assert ours.file_offset == int(theirs.data_offset)
        assert ours.nbytes == int(theirs.n_bytes)
        assert ours.numpy().tobytes() == theirs.data.tobytes()


def compare_with_ggml(file: GGUFFile, path: Path, ggml: ctypes.CDLL) -> None:
    context = ggml.etg_gguf_init_from_file(str(path).encode(), _InitParams(True, None))
    assert context, "ggml refuses a file that we accept"
    try:
        assert ggml.etg_gguf_get_n_kv(context) == len(file.metadata)
        assert ggml.etg_gguf_get_n_tensors(context) == len(file.tensors)
        start = ggml.etg_gguf_get_data_offset(context)
        for tensor in file.tensors.values():
            index = ggml.etg_gguf_find_tensor(context, tensor.name.encode())
            assert index >= 0
            assert start + ggml.etg_gguf_get_tensor_offset(context, index) == tensor.file_offset
            assert ggml.etg_gguf_get_tensor_type(context, index) == tensor.type_number
    finally:
        ggml.etg_gguf_free(context)


def test_our_bytes(good_file: Path, ggml: ctypes.CDLL) -> None:
    with GGUFFile(good_file) as file:
        compare_with_gguf_py(file, good_file)
        compare_with_ggml(file, good_file, ggml)


def test_every_kind_of_tensor(tmp_path: Path, ggml: ctypes.CDLL) -> None:
    path = tmp_path / "types.gguf"
    kinds = [GGML_BF16, GGML_I32, GGML_Q4_0, GGML_Q4_K, GGML_Q6_K, GGML_Q8_0]
    path.write_bytes(bytes(Image([ARCHITECTURE], [Tensor(f"t{k}", [256, 3], k) for k in kinds])))
    with GGUFFile(path) as file:
        compare_with_gguf_py(file, path)
        compare_with_ggml(file, path, ggml)


def test_a_file_that_gguf_py_wrote(tmp_path: Path, ggml: ctypes.CDLL) -> None:
    path = tmp_path / "written.gguf"
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(["<s>", "</s>", "▁the", "數"])
    writer.add_token_scores([0.0, -1.0, -2.5, 3.25])
    writer.add_token_types([3, 3, 1, 1])
    writer.add_bool("llama.some.flag", True)
    weights = random.standard_normal((7, 64)).astype(np.float32)
    writer.add_tensor("token_embd.weight", weights)
    quantised = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output.weight", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("half.weight", weights.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with GGUFFile(path) as file:
        compare_with_gguf_py(file, path)
        compare_with_ggml(file, path, ggml)
        assert file.metadata["tokenizer.ggml.tokens"][3] == "數"
        assert np.array_equal(file.tensors["token_embd.weight"].numpy(), weights)
        expected = gguf.quants.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0)
        assert np.array_equal(file.dequantize("output.weight"), expected)
        assert np.array_equal(file.dequantize("half.weight"), weights.astype(np.float16).astype(np.float32))


_whole = bytes(valid())


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(_whole) - 1),
            st.one_of(
                st.binary(min_size=1, max_size=4),
                st.sampled_from(
                    [n.to_bytes(8, "little") for n in (0, 1, 2, 5, 31, 32, 64, 255, 2**31, 2**40, 2**63, 2**64 - 1)]
                ),
            ),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_we_accept_the_others_accept(tmp_path: Path, ggml: ctypes.CDLL, edits: list[tuple[int, bytes]]) -> None:
    content = bytearray(_whole)
    for at, piece in edits:
        content[at : at + len(piece)] = piece[: len(content) - at]
    path = tmp_path / "mutated.gguf"
    path.write_bytes(content)
    try:
        file = GGUFFile(path)
    except GgmlError:
        return
    with file:
        compare_with_ggml(file, path, ggml)
        compare_with_gguf_py(file, path)
