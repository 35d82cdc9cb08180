"""The native library against eager torch on the dequantised weights: every architecture, type and way to split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import MAX_SEQ_LEN as MAX
from tiny import prompt

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import BindError, InvalidArgumentError, LibraryError, ShapeError, ValueRangeError
from executorch_ggml.llm.decoder import build_decoder, load_dequantized, read_header
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.runtime import _load
from tests.support.gguf_presets import TINY

try:
    _load.library()
except LibraryError as missing:
    pytest.skip(str(missing), allow_module_level=True)

F32_BOUND = 1e-9


@pytest.fixture(scope="module")
def eager() -> Any:
    """eager(path) -> function (ids [1, T]) -> logits [T, vocab] of the dequantised weights, cached."""
    models: dict[Path, Any] = {}

    def make(path: Path) -> Any:
        if path not in models:
            header = read_header(path)
            models[path] = load_dequantized(build_decoder(header, MAX, full_logits=True), header)
        model = models[path]

        def run(ids: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                model.reset()
                return model(torch.from_numpy(ids), torch.arange(ids.shape[1]))[0].numpy()

        return run

    return make


@pytest.mark.parametrize("arch", sorted(TINY))
def test_lengths_and_splits(exported: Any, make_gguf: Any, eager: Any, arch: str) -> None:
    gguf = make_gguf(arch)
    ids = prompt(MAX - 1)
    want = eager(gguf)(ids)
    with GGUFModule(exported(arch), gguf, cache_type="f32", threads=1) as module:
        for length in (1, 7, 64, MAX - 1):
            module.reset()
            (logits,) = module.forward(ids[:, :length], np.arange(length))
            assert logits.shape == (1, 1, 512)
            assert logits.dtype == np.float32
            assert nmse(logits[0, 0], want[length - 1]) <= F32_BOUND, length
        module.reset()
        module.forward(ids[:, :40], np.arange(40))
        (logits,) = module.forward(ids[:, 40:64], np.arange(40, 64))
        assert nmse(logits[0, 0], want[63]) <= F32_BOUND
        if all(state["kind"] == "kv_cache" for state in module.program.info()["states"]):
            # Going back overwrites: positions 10..63 are still those of the same tokens.
            (logits,) = module.forward(ids[:, 10:20], np.arange(10, 20))
            assert nmse(logits[0, 0], want[19]) <= F32_BOUND
        else:
            with pytest.raises(InvalidArgumentError, match="cannot go back"):
                module.forward(ids[:, 10:20], np.arange(10, 20))


@pytest.mark.parametrize("arch", sorted(TINY))
def test_greedy_tokens_are_eagers(exported: Any, make_gguf: Any, arch: str) -> None:
    gguf = make_gguf(arch)
    model = load_dequantized(build_decoder(header := read_header(gguf), MAX), header)
    ids = prompt(5)
    tokens: list[list[int]] = [[], []]
    worst = 0.0  # a random model may repeat itself; its logits never do
    with torch.no_grad(), GGUFModule(exported(arch), gguf, cache_type="f32", threads=1) as module:
        chunk, start = ids, 0
        for _ in range(64):
            positions = np.arange(start, start + chunk.shape[1])
            (got,) = module.forward(chunk, positions)
            want = model(torch.from_numpy(chunk), torch.from_numpy(positions))
            tokens[0].append(int(got[0, -1].argmax()))
            tokens[1].append(int(want[0, -1].argmax()))
            worst = max(worst, nmse(got, want))
            start, chunk = start + chunk.shape[1], np.array([[tokens[1][-1]]])
    assert tokens[0] == tokens[1]
    assert worst <= F32_BOUND


def _in_8_bits(x: torch.Tensor) -> torch.Tensor:
    """Activations as ggml stores them for products with Q8_0."""
    blocks = x.unflatten(-1, (-1, 32))
    step = blocks.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return ((blocks / step).round() * step).flatten(-2)


@pytest.mark.parametrize("arch", sorted(TINY))
def test_f16_cache_and_q8_0(
    exported: Any, make_gguf: Any, eager: Any, arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, positions = prompt(64), np.arange(64)
    linear = torch.nn.functional.linear
    for kind, bound in (("f32", 1e-5), ("q8_0", 1e-3)):
        gguf = make_gguf(arch, type=kind)
        with GGUFModule(exported(arch), gguf, threads=1) as module:
            (logits,) = module.forward(ids, positions)
        want = eager(gguf)(ids)[63]
        if kind == "q8_0":
            # Blocks that multiply products with each other have more of this noise than others.
            monkeypatch.setattr(
                torch.nn.functional, "linear", lambda x, weight, bias=None: linear(_in_8_bits(x), weight, bias)
            )
            bound = max(bound, 2 * nmse(eager(gguf)(ids)[63], want))
        assert nmse(logits[0, 0], want) <= bound, kind


# Quantised weights are multiplied by activations that ggml quantises too: to 8 bits in blocks of 32 for the first row,
# of 256 for the second. White noise, as random models have it, is the worst input for that.
TYPES = {"f32": 1e-9, "f16": 1e-6, "bf16": 1e-4}
TYPES |= dict.fromkeys(("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"), 1e-3)
TYPES |= dict.fromkeys(
    ("q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "q4_k_m", "q5_k_m", "iq4_xs", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xs",
     "iq2_xxs", "iq1_s", "iq1_m", "tq1_0", "tq2_0"), 2e-3,
)  # fmt: skip


@pytest.mark.parametrize("kind", TYPES)
def test_one_pte_for_every_type(exported: Any, make_gguf: Any, eager: Any, kind: str) -> None:
    gguf = make_gguf("qwen3", type=kind)
    ids = prompt(32)
    with GGUFModule(exported("qwen3"), gguf, cache_type="f32", threads=1) as module:
        assert module.check().ok
        (logits,) = module.forward(ids, np.arange(32))
    assert nmse(logits[0, 0], eager(gguf)(ids)[31]) <= TYPES[kind]


def test_without_quantisation(make_gguf: Any, eager: Any, tmp_path: Path) -> None:
    """enable_quantization=False: weights become float32 when loaded, and the result is exact for every type."""
    export_gguf_to_pte(
        make_gguf("llama"), tmp_path / "m.pte", GGUFExportConfig(max_seq_len=MAX, enable_quantization=False)
    )
    ids = prompt(16)
    for kind in ("q8_0", "q4_k_m", "q5_0"):
        gguf = make_gguf("llama", type=kind)
        with GGUFModule(tmp_path / "m.pte", gguf, cache_type="f32", threads=1) as module:
            (logits,) = module.forward(ids, np.arange(16))
        assert nmse(logits[0, 0], eager(gguf)(ids)[15]) <= 1e-9, kind


def test_full_logits(exported: Any, make_gguf: Any, eager: Any) -> None:
    gguf, ids = make_gguf("qwen3"), prompt(20)
    with GGUFModule(exported("qwen3", full_logits=True), gguf, cache_type="f32", threads=1) as module:
        (logits,) = module.forward(ids, np.arange(20))
    assert logits.shape == (1, 20, 512)
    assert nmse(logits[0], eager(gguf)(ids)) <= 1e-9


def test_split_file(exported: Any, make_gguf: Any, eager: Any) -> None:
    ids = prompt(8)
    shards = make_gguf("qwen3", split_tensors=7)
    with GGUFModule(exported("qwen3"), shards, cache_type="f32", threads=1) as module:
        (logits,) = module.forward(ids, np.arange(8))
    assert nmse(logits[0, 0], eager(make_gguf("qwen3"))(ids)[7]) <= 1e-9


@pytest.mark.parametrize("cache_type", ["f32", "f16", "bf16", "q8_0"])
def test_cache_types(exported: Any, make_gguf: Any, eager: Any, cache_type: str) -> None:
    gguf, ids = make_gguf("llama"), prompt(50)
    with GGUFModule(exported("llama"), gguf, cache_type=cache_type, threads=1) as module:
        (logits,) = module.forward(ids, np.arange(50))
    bound = {"f32": 1e-9, "f16": 1e-5, "bf16": 1e-3, "q8_0": 1e-2}[cache_type]
    assert nmse(logits[0, 0], eager(gguf)(ids)[49]) <= bound


def test_the_snippet(make_gguf: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's lines as they stand: torch in, torch out."""
    gguf, pte = make_gguf("qwen3", type="q8_0"), tmp_path / "qwen3.pte"
    export_gguf_to_pte(
        gguf, pte, GGUFExportConfig(max_seq_len=128, preserve_dynamic_shapes=True, enable_quantization=True)
    )
    module = GGUFModule(pte, gguf)
    module.print_info()
    assert "KV cache" in capsys.readouterr().out
    logits = module.forward(torch.tensor([[1, 2, 3, 4, 5]]), torch.arange(5))
    next_token = logits[0][:, -1, :].argmax(dim=-1).item()
    logits = module.forward(torch.tensor([[next_token]]), torch.tensor([5]))
    assert isinstance(logits[0], torch.Tensor)
    model = load_dequantized(build_decoder(header := read_header(gguf), 128), header)
    with torch.no_grad():
        want = model(torch.tensor([[1, 2, 3, 4, 5, next_token]]), torch.arange(6))
    assert nmse(logits[0], want) <= 1e-3
    module.close()


def test_refusals(exported: Any, make_gguf: Any) -> None:
    gguf = make_gguf("qwen3")
    with GGUFModule(exported("qwen3"), gguf, threads=1) as module:
        assert module.max_seq_len == MAX
        with pytest.raises(ValueRangeError):
            module.forward([[512]], [0])
        with pytest.raises(ValueRangeError):
            module.forward([[-1]], [0])
        with pytest.raises(ValueRangeError):
            module.forward([[1]], [MAX])
        with pytest.raises(ShapeError):
            module.forward(np.ones((1, MAX + 1), np.int64), np.arange(MAX + 1))
        with pytest.raises(ShapeError):
            module.forward([[1, 2]], [0])
        assert np.isfinite(module.forward([[1]], [0])[0]).all()
    with pytest.raises(BindError, match="qwen2"):
        GGUFModule(exported("qwen3"), make_gguf("qwen2"))
    with pytest.raises(BindError, match=r"rope\.freq_base"):
        GGUFModule(exported("qwen3"), make_gguf("qwen3", theta=5e5))
    with pytest.raises(BindError, match="ffn"):
        GGUFModule(exported("qwen3"), make_gguf("qwen3", ff=768))
