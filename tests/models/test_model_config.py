"""From metadata to configuration: what each architecture gets, and what is refused with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from executorch_ggml.errors import BindError, FormatError, GgmlError, InvalidArgumentError, UnsupportedError
from executorch_ggml.llm.decoder import GgufHeader, load_config, read_header
from tests.support.gguf_file import GgufFile
from tests.support.gguf_layouts import ARRAY, BOOL, F32, STRING, U32, Kv, layout_of
from tests.support.gguf_presets import PRESETS, TINY


def _write(
    path: Path, arch: str = "qwen3", *, change: dict[str, Kv | None] | None = None, size: str = "", **extra: object
) -> GgufHeader:
    """The header of a model (no data), with metadata entries replaced, added or, with None, left out."""
    layout = layout_of(PRESETS[size] if size else TINY[arch])
    kvs = {kv.key: kv for kv in [Kv("general.architecture", STRING, layout.architecture), *layout.metadata]}
    for key, kv in (change or {}).items():
        if kv is None:
            del kvs[key]
        else:
            kvs[key] = kv
    skip = extra.get("skip", ())
    tensors = [(t.name, t.shape, 0, 0) for t in layout.tensors if t.name not in skip]  # type: ignore[operator]
    GgufFile(path, list(kvs.values()), tensors + extra.get("tensors", [])).close()  # type: ignore[operator]
    return read_header(path)


def test_qwen3_06b(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path / "m.gguf", size="qwen3-0.6b"), 2048)
    assert (config.layers, config.width, config.heads, config.kv_heads, config.head_dim) == (28, 1024, 16, 8, 128)
    assert (config.ff, config.vocab, config.context) == (3072, 151936, 40960)
    rope = config.rope[0]
    assert rope is not None
    assert (rope.mode, rope.dims, rope.base, rope.scale, rope.factors) == (2, 128, 1e6, 1.0, None)
    assert config.eps == pytest.approx(1e-6)
    assert config.attention_scale == 128**-0.5


def test_gemma3_layers(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path / "m.gguf", size="gemma3-1b"), 64)
    assert list(config.window[:12]) == [512] * 5 + [0] + [512] * 5 + [0]
    bases = [rope.base for rope in config.rope if rope is not None]
    assert bases[:6] == [1e4] * 5 + [1e6]
    assert config.embedding_scale == 1152**0.5
    flags = Kv("gemma3.attention.sliding_window_pattern", ARRAY, [i != 1 for i in range(7)], BOOL)
    config = load_config(_write(tmp_path / "p.gguf", "gemma3", change={flags.key: flags}), 64)
    assert config.window == (16, 0, 16, 16, 16, 16, 16)


def test_smollm3_leaves_every_fourth_layer_unrotated(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path / "m.gguf", size="smollm3-3b"), 64)
    assert [rope is None for rope in config.rope[:8]] == [False, False, False, True] * 2


def test_longrope_factors_follow_max_seq_len(tmp_path: Path) -> None:
    header = _write(tmp_path / "m.gguf", size="phi3-mini-128k")
    for length, name in ((4096, "rope_factors_short.weight"), (4097, "rope_factors_long.weight")):
        rope = load_config(header, length).rope[0]
        assert rope is not None
        assert rope.factors == name
        assert rope.attn_factor == pytest.approx(1.1902, abs=1e-4)


def test_temperature_is_refused_where_it_matters(tmp_path: Path) -> None:
    header = _write(tmp_path / "m.gguf", "mistral3")
    assert load_config(header, 256).max_seq_len == 256
    with pytest.raises(UnsupportedError, match="max_seq_len <= 256"):
        load_config(header, 257)


def test_expectations_are_what_was_read(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path / "m.gguf", "llama"), 64)
    assert config.metadata["general.architecture"] == "llama"
    assert config.metadata["llama.attention.head_count_kv"] == 2
    assert config.metadata["llama.rope.freq_base"] == 5e5
    # Names, sizes of the training context and file types do not enter the graph.
    assert not [key for key in config.metadata if key.startswith("general.") and key != "general.architecture"]
    assert "llama.context_length" not in config.metadata


A = "qwen3."
REFUSED: list[tuple[str, type[GgmlError], str, dict[str, Any]]] = [
    ("no-architecture", FormatError, "general.architecture", {"change": {"general.architecture": None}}),
    (
        "unknown-architecture",
        UnsupportedError,
        "did you mean 'gemma3'",
        {"change": {"general.architecture": Kv("general.architecture", STRING, "gemma3n")}},
    ),
    ("no-layers", FormatError, "qwen3.block_count", {"change": {A + "block_count": None}}),
    ("no-eps", FormatError, "layer_norm_rms_epsilon", {"change": {A + "attention.layer_norm_rms_epsilon": None}}),
    (
        "zero-layers",
        FormatError,
        "outside 1..",
        {"change": {A + "block_count": Kv(A + "block_count", U32, 0)}},
    ),
    (
        "string-layers",
        FormatError,
        "should be an integer, but is '28'",
        {"change": {A + "block_count": Kv(A + "block_count", STRING, "28")}},
    ),
    (
        "layerwise-width",
        UnsupportedError,
        "differs from layer to layer",
        {"change": {A + "feed_forward_length": Kv(A + "feed_forward_length", ARRAY, [512, 256], U32)}},
    ),
    (
        "odd-groups",
        FormatError,
        "cannot share 3 key heads",
        {"change": {A + "attention.head_count_kv": Kv(A + "attention.head_count_kv", U32, 3)}},
    ),
    (
        "infinite-base",
        FormatError,
        "finite",
        {"change": {A + "rope.freq_base": Kv(A + "rope.freq_base", F32, float("inf"))}},
    ),
    (
        "unknown-scaling",
        UnsupportedError,
        "'dynamic'",
        {"change": {A + "rope.scaling.type": Kv(A + "rope.scaling.type", STRING, "dynamic")}},
    ),
    (
        "not-causal",
        UnsupportedError,
        "attention.causal",
        {"change": {A + "attention.causal": Kv(A + "attention.causal", BOOL, False)}},
    ),
    (
        "softcap-of-gemma",
        UnsupportedError,
        "final_logit_softcapping",
        {"change": {A + "final_logit_softcapping": Kv(A + "final_logit_softcapping", F32, 30.0)}},
    ),
    (
        "temperature-of-mistral",
        UnsupportedError,
        "attention.temperature_scale",
        {"change": {A + "attention.temperature_scale": Kv(A + "attention.temperature_scale", F32, 0.1)}},
    ),
    (
        "experts",
        UnsupportedError,
        "expert_count",
        {"change": {A + "expert_count": Kv(A + "expert_count", U32, 4)}},
    ),
    (
        "values-of-other-size",
        UnsupportedError,
        "values of 64",
        {"change": {A + "attention.value_length": Kv(A + "attention.value_length", U32, 64)}},
    ),
    ("no-embedding", FormatError, "token_embd.weight", {"skip": ("token_embd.weight",)}),
    (
        "tokens-and-rows",
        FormatError,
        "2 tokens, but token_embd.weight has 512",
        {"change": {"tokenizer.ggml.tokens": Kv("tokenizer.ggml.tokens", ARRAY, ["a", "b"], STRING)}},
    ),
]


@pytest.mark.parametrize("error, message, options", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(tmp_path: Path, error: type[GgmlError], message: str, options: dict[str, Any]) -> None:
    header = _write(tmp_path / "m.gguf", **options)
    with pytest.raises(error, match=r"m\.gguf") as caught:
        load_config(header, 64)
    assert message in str(caught.value)


def test_max_seq_len_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="max_seq_len"):
        load_config(_write(tmp_path / "m.gguf"), 0)


def test_equal_layerwise_values_are_one_value(tmp_path: Path) -> None:
    key = A + "attention.head_count_kv"
    assert load_config(_write(tmp_path / "m.gguf", change={key: Kv(key, ARRAY, [2, 2], U32)}), 64).kv_heads == 2


def test_tensors_must_fit_the_metadata(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from executorch_ggml.llm.decoder import build_decoder

    with pytest.raises(BindError, match=r"blk\.1\.attn_k\.weight is missing"):
        build_decoder(_write(tmp_path / "a.gguf", skip=("blk.1.attn_k.weight",)), 64)
    wide = {A + "feed_forward_length": Kv(A + "feed_forward_length", U32, 1024)}
    with pytest.raises(
        BindError,
        match=r"ffn_gate\.weight. in \S+ has shape \[256, 512\], the graph needs \[256, 1024\] \(ggml order\)",
    ):
        build_decoder(_write(tmp_path / "b.gguf", change=wide), 64)
    with pytest.raises(UnsupportedError, match=r"attn_sinks\.weight"):
        build_decoder(_write(tmp_path / "c.gguf", tensors=[("blk.0.attn_sinks.weight", (4,), 0, 0)]), 64)


def test_parameters_are_the_files_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from executorch_ggml.llm.decoder import StateKind, build_decoder

    for arch in TINY:
        header = _write(tmp_path / f"{arch}.gguf", arch)
        model = build_decoder(header, 64)
        names = {name for name, _ in model.named_parameters()}
        assert names == set(header.tensors) | {"output.weight"}, arch
        assert {p.device for p in model.parameters()} == {torch.device("meta")}
        assert all(b.shape[0] == 1 and b.is_meta for b in model.buffers())
        rows = [name for name, kind in model.states.items() if kind is StateKind.POSITIONS]
        assert all(model.get_buffer(name).shape[1] == 64 for name in rows)
