"""The eager decoder of each architecture against transformers' own model with the same weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hf_reference import build
from tiny import MAX_SEQ_LEN

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.llm.decoder import build_decoder, load_dequantized, read_header
from tests.support.gguf_layouts import Shape
from tests.support.gguf_presets import TINY

_KV = "attention.head_count_kv"

# Each line: name, tiny model, changed fields, (factor, original context) of Llama 3's scaling. TINY itself is below.
VARIANTS: list[tuple[str, str, dict[str, Any], tuple[float, int] | None]] = [
    ("qwen3-untied", "qwen3", {"tied": False}, None),
    ("qwen3-yarn", "qwen3", {"rope": "yarn", "rope_factor": 4.0, "rope_original": 32}, None),
    ("llama3-tied", "llama", {"tied": True}, (8.0, 64)),
    ("llama-plain", "llama", {"rope": "none", "head_dim": 128}, None),
    ("llama-linear", "llama", {"rope": "linear", "rope_factor": 4.0}, None),
    ("mixtral", "llama", {"rope": "none", "experts": 4, "experts_used": 2}, None),
    ("gemma3-softcap", "gemma3", {"softcap": 3.0, "layers": 6}, None),
    ("lfm2-attention-last", "lfm2", {"layers": 2, "extra": {_KV: [0, 2], "shortconv.l_cache": 3}}, None),
    ("lfm2-four-taps", "lfm2", {"layers": 2, "extra": {_KV: [2, 0], "shortconv.l_cache": 4}}, None),
    ("phi3-window", "phi3", {"window": 8}, None),
    ("phi3-partial", "phi3", {"rot_dim": 48}, None),
    ("phi3-long", "phi3", {"rope": "longrope", "rope_factor": 8.0, "rope_original": 32, "context": 256}, None),
    ("phi3-short", "phi3", {"rope": "longrope", "rope_factor": 2.0, "rope_original": 512, "context": 1024}, None),
    ("qwen3moe-one", "qwen3moe", {"experts_used": 1}, None),
]


def _llama3(shape: Shape) -> tuple[float, int] | None:
    return (shape.rope_factor, shape.rope_original) if shape.rope == "llama3" else None


CASES = [(name, name, {}, _llama3(shape)) for name, shape in TINY.items()] + VARIANTS


@pytest.mark.parametrize("name, arch, fields, llama3", CASES, ids=[case[0] for case in CASES])
def test_against_transformers(
    make_gguf: Any, name: str, arch: str, fields: dict[str, Any], llama3: tuple[float, int] | None
) -> None:
    path = make_gguf(arch, **fields)
    reference = build(path, llama3)
    header = read_header(path)
    full = load_dequantized(build_decoder(header, MAX_SEQ_LEN, full_logits=True), header)
    last = load_dequantized(build_decoder(header, MAX_SEQ_LEN), header)
    generator = torch.Generator().manual_seed(1)
    # Small ids on purpose: nothing may take a token id for a position.
    ids = torch.cat((torch.arange(1, 6), torch.randint(0, 512, (59,), generator=generator)))[None]
    with torch.no_grad():
        # phi3-long: transformers picks long or short factors by the length of the call, as max_seq_len picks here.
        want = reference(ids, use_cache=False).logits
        got = full(ids, torch.arange(64))
        assert got.shape == (1, 64, 512)
        assert nmse(got, want) < 1e-10
        assert float((got - want).abs().max()) < 1e-4
        # The last layer computes the last position alone; a call may be split anywhere.
        alone = last(ids[:, :40], torch.arange(40))
        assert alone.shape == (1, 1, 512)
        assert nmse(alone[0, 0], want[0, 39]) < 1e-10
        for start, stop in ((40, 63), (63, 64)):
            alone = last(ids[:, start:stop], torch.arange(start, stop))
        assert nmse(alone[0, 0], want[0, 63]) < 1e-10
        # One token at a time; another sequence begins at position 0, with and without a reset.
        for reset in (True, False):
            if reset:
                last.reset()
            alone = torch.cat([last(ids[:, i : i + 1], torch.arange(i, i + 1)) for i in range(12)], dim=1)
            assert nmse(alone[0], want[0, :12]) < 1e-10


def test_fused_qkv_is_the_same_model(make_gguf: Any) -> None:
    """--fuse-qkv of the converter: one tensor, the same numbers."""
    ids, positions = torch.tensor([[1, 2, 3, 4, 5]]), torch.arange(5)
    results = []
    for fuse in (False, True):
        path = make_gguf("qwen2", fuse_qkv=fuse)
        header = read_header(path)
        assert ("blk.0.attn_qkv.weight" in header.tensors) is fuse
        results.append(load_dequantized(build_decoder(header, 16), header)(ids, positions))
    assert nmse(*results) < 1e-12


@pytest.mark.parametrize("name", TINY)
def test_reset_forgets(make_gguf: Any, name: str) -> None:
    model = load_dequantized(build_decoder(read_header(path := make_gguf(name)), 16), path)
    ids = torch.tensor([[1, 2, 3]])
    first = model(ids, torch.arange(3)).clone()
    assert set(model.states) == {name for name, _ in model.named_buffers()}
    assert all(float(b.abs().sum()) > 0 for b in model.buffers())
    model.reset()
    assert all(float(b.abs().sum()) == 0 for b in model.buffers())
    assert torch.equal(model(ids, torch.arange(3)), first)
