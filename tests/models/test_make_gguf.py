"""The writer of random models: its files are what others' readers expect, and one seed is one model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from executorch_ggml.llm.decoder import load_config, read_header
from tests.support.gguf_layouts import ARRAY, I32, STRING, U32, Kv
from tests.support.gguf_presets import PRESETS
from tests.support.gguf_types import FileType
from tests.support.gguf_vocab import tokenizer_metadata
from tests.support.make_gguf import ROOT, write_gguf


def _read(paths: list[Path]) -> dict[str, np.ndarray]:
    readers = [gguf.GGUFReader(path) for path in paths]
    return {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for r in readers for t in r.tensors}


def test_one_seed_one_model(make_gguf: Any, tmp_path: Path) -> None:
    """Types, splitting and fusing change how the numbers are stored, not the numbers."""
    whole = _read([make_gguf("qwen3")])
    split = _read(write_gguf(tmp_path / "s.gguf", split_tensors=5))
    assert whole.keys() == split.keys()
    assert all(np.array_equal(whole[name], split[name]) for name in whole)
    for kind, bound in (("f16", 1e-7), ("bf16", 1e-5), ("q8_0", 1e-4), ("q4_0", 2e-2)):
        for name, values in _read([make_gguf("qwen3", type=kind)]).items():
            assert np.sum((values - whole[name]) ** 2) <= bound * np.sum(whole[name] ** 2), (kind, name)
    fused = _read([make_gguf("qwen3", fuse_qkv=True)])
    parts = [whole[f"blk.1.attn_{n}.weight"] for n in "qkv"]
    assert np.array_equal(fused["blk.1.attn_qkv.weight"], np.concatenate(parts))
    other = _read(write_gguf(tmp_path / "t.gguf", seed=1))
    assert not np.array_equal(other["blk.0.attn_q.weight"], whole["blk.0.attn_q.weight"])


def test_same_bytes_again(tmp_path: Path) -> None:
    files = [write_gguf(tmp_path / f"{i}.gguf", arch="gemma3", type="q5_1")[0] for i in (0, 1)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_big_tensors_are_written_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_gguf(tmp_path / "a.gguf")[0].read_bytes()
    monkeypatch.setattr("tests.support.make_gguf._CHUNK", 1000)
    assert write_gguf(tmp_path / "b.gguf")[0].read_bytes() == whole


def test_norms_and_routers_stay_f32(make_gguf: Any) -> None:
    tensors = read_header(make_gguf("qwen3moe", type="q4_0")).tensors.values()
    f32 = {t.name.split(".", 2)[-1] for t in tensors if t.type == 0 and t.name.startswith("blk.")}
    assert f32 == {
        "attn_norm.weight", "ffn_norm.weight", "attn_q_norm.weight", "attn_k_norm.weight", "ffn_gate_inp.weight",
    }  # fmt: skip


def test_mix_spends_bits_as_llama_quantize() -> None:
    """Q4_K_M of Qwen3-0.6B: the published file has 169 Q4_K tensors and 29 Q6_K ones."""
    from tests.support.gguf_layouts import layout_of

    shape = PRESETS["qwen3-0.6b"]
    mix = FileType("q4_k_m", shape.layers, shape.tied)
    types = [mix.of(spec).name for spec in layout_of(shape).tensors]
    assert {name: types.count(name) for name in set(types)} == {"F32": 113, "Q4_K": 168, "Q6_K": 29}


def test_rows_that_blocks_do_not_divide_fall_back() -> None:
    from tests.support.gguf_layouts import TensorSpec

    def chosen(name: str, columns: int) -> str:
        return FileType(name, 2, True).of(TensorSpec("blk.0.ffn_up.weight", (8, columns))).name

    assert (chosen("q4_k", 512), chosen("q4_k", 96), chosen("q8_0", 96), chosen("q8_0", 40)) == (
        "Q4_K", "Q5_0", "Q8_0", "F16",
    )  # fmt: skip


@pytest.mark.parametrize("size", sorted(PRESETS))
def test_presets_have_the_published_sizes(size: str, tmp_path: Path) -> None:
    from tests.support.gguf_file import GgufFile
    from tests.support.gguf_layouts import layout_of

    layout = layout_of(PRESETS[size])
    kvs = [Kv("general.architecture", STRING, layout.architecture), *layout.metadata]
    GgufFile(tmp_path / "m.gguf", kvs, [(t.name, t.shape, 0, 0) for t in layout.tensors]).close()
    header = read_header(tmp_path / "m.gguf")
    load_config(header, 128)
    parameters = sum(int(np.prod(t.shape, dtype=np.int64)) for t in header.tensors.values())
    published = {
        "qwen3-0.6b": 596.05e6, "qwen3-4b": 4.0225e9, "qwen3-8b": 8.1907e9, "qwen2.5-0.5b": 494.03e6,
        "llama-3.2-1b": 1.2358e9, "mistral-7b": 7.248e9, "gemma3-1b": 999.9e6, "phi3-mini-4k": 3.8211e9,
        "phi3-mini-128k": 3.8211e9, "smollm3-3b": 3.0751e9, "qwen3-30b-a3b": 30.532e9,
    }  # fmt: skip
    assert parameters == pytest.approx(published[size], rel=1e-4)


def test_tokenizer_is_fitted(tmp_path: Path) -> None:
    from tests.support.gguf_file import GgufFile

    source = [
        Kv("general.architecture", STRING, "qwen2"),
        Kv("tokenizer.ggml.model", STRING, "gpt2"),
        Kv("tokenizer.ggml.tokens", ARRAY, ["a", "b", "c"], STRING),
        Kv("tokenizer.ggml.token_type", ARRAY, [1, 1, 3], I32),
        Kv("tokenizer.ggml.merges", ARRAY, ["a b"], STRING),
        Kv("tokenizer.ggml.eos_token_id", U32, 2),
    ]
    GgufFile(tmp_path / "v.gguf", source, []).close()
    grown = {kv.key: kv.value for kv in tokenizer_metadata(tmp_path / "v.gguf", 5)}
    assert grown["tokenizer.ggml.tokens"] == ["a", "b", "c", "[PAD3]", "[PAD4]"]
    assert grown["tokenizer.ggml.token_type"] == [1, 1, 3, 5, 5]
    cut = {kv.key: kv.value for kv in tokenizer_metadata(tmp_path / "v.gguf", 2, eos=1)}
    assert cut["tokenizer.ggml.tokens"] == ["a", "b"]
    assert cut["tokenizer.ggml.eos_token_id"] == 1
    whole = read_header(write_gguf(tmp_path / "m.gguf", vocab=tmp_path / "v.gguf")[0])
    assert whole.length("tokenizer.ggml.tokens") == load_config(whole, 8).vocab == 512
    assert load_config(whole, 8).eos == (2,)


def test_command_line(tmp_path: Path) -> None:
    target = tmp_path / "m.gguf"
    script = str(ROOT / "tests" / "support" / "make_gguf.py")
    command = [sys.executable, script, str(target), "--arch", "phi3", "--type", "f16", "--set", "tied=true"]
    run = subprocess.run([*command, "--set", "layers=3"], capture_output=True, text=True, check=True)
    assert str(target) in run.stdout
    header = read_header(target)
    assert header["phi3.block_count"] == 3
    assert "output.weight" not in header.tensors
    bad = subprocess.run([*command, "--set", "layrs=3"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "layrs" in bad.stderr


def test_repeated_rows_fill_the_same_file(tmp_path: Path) -> None:
    sizes = []
    for repeat in (False, True):
        path = tmp_path / f"{repeat}.gguf"
        write_gguf(path, arch="qwen3", type="q8_0", repeat=repeat)
        reader = gguf.GGUFReader(path)
        sizes.append([(t.name, tuple(t.shape), t.tensor_type, t.n_bytes) for t in reader.tensors])
        matrices = [bytes(t.data[:4].tobytes()) for t in reader.tensors if len(t.shape) == 2 and t.shape[0] == 256]
        assert len(set(matrices)) > len(matrices) // 2
    assert sizes[0] == sizes[1]
