"""Exports at their edges: contexts of one and two positions, two threads at once, numbers that fit nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import MAX_SEQ_LEN

from executorch_ggml.errors import FormatError, ValueRangeError
from executorch_ggml.gguf.header import GgufHeader, read_header
from executorch_ggml.llm.decoder import load_config
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.llm.text.generate import generate


@pytest.mark.parametrize("length", [1, 2])
def test_the_shortest_contexts(length: int, make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    """torch takes a dimension of 1..2 for a constant; the graph must still take one token and two."""
    gguf = make_gguf("qwen3")
    export_gguf_to_pte(gguf, tmp_path / "m.pte", GGUFExportConfig(max_seq_len=length))
    short, long = GGUFModule(tmp_path / "m.pte", gguf, threads=1), GGUFModule(exported("qwen3"), gguf, threads=1)
    tokens = [3, 1][:length]
    for step in {1, length} if length > 1 else {1}:
        short.reset()
        for at in range(0, length, step):
            part, places = [tokens[at : at + step]], list(range(at, min(at + step, length)))
            logits, wanted = short.forward(part, places)[0], long.forward(part, places)[0]
            np.testing.assert_allclose(logits, wanted, atol=1e-4)
    assert short.max_seq_len == length
    with pytest.raises(ValueRangeError):
        short.forward([[1]], [length])
    generation = generate(short.program, [1] * length)
    assert list(generation)
    assert (len(generation.tokens), generation.finish_reason) == (1, "length")
    with pytest.raises(ValueRangeError):
        generate(short.program, [1] * (length + 1)).read()


def test_two_threads(make_gguf: Any, exported: Any, tmp_path: Path) -> None:
    """torch.export keeps its state in globals: the second waits for the first."""
    gguf, results = make_gguf("qwen3"), []

    def run(name: str) -> None:
        try:
            export_gguf_to_pte(gguf, tmp_path / name, GGUFExportConfig(max_seq_len=MAX_SEQ_LEN))
            results.append((tmp_path / name).read_bytes())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a.pte", "b.pte")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [exported("qwen3").read_bytes()] * 2


def changed(header: GgufHeader, **values: Any) -> GgufHeader:
    metadata = dict(header._metadata)
    metadata |= {name.replace("__", "."): value for name, value in values.items()}
    return GgufHeader(header.paths, metadata, header.tensors)


@pytest.mark.parametrize("value", [1e39, 1e308, float("inf"), float("nan"), 10**400])
@pytest.mark.parametrize(
    "key", ["attention.layer_norm_rms_epsilon", "rope.freq_base", "attention.scale", "rope.scaling.attn_factor"]
)
def test_numbers_that_float32_cannot_hold(key: str, value: float, make_gguf: Any) -> None:
    header = changed(read_header(make_gguf("qwen3")), **{f"qwen3.{key}": value})
    with pytest.raises(FormatError, match=key):
        load_config(header, 8)


def test_numbers_that_multiply_beyond_it(make_gguf: Any) -> None:
    values = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
    values |= {"rope.scaling.attn_factor": 1e38, "rope.scaling.yarn_attn_factor": 1e38}
    header = changed(read_header(make_gguf("qwen3")), **{f"qwen3.{key}": value for key, value in values.items()})
    with pytest.raises(FormatError, match="attn_factor"):
        load_config(header, 8)


@pytest.mark.parametrize("value", ["x", 7, 1.5, True])
def test_tokens_that_are_no_array(value: Any, make_gguf: Any) -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.ggml\.tokens"):
        load_config(changed(read_header(make_gguf("qwen3")), tokenizer__ggml__tokens=value), 8)


def test_special_ids_beyond_the_vocabulary_are_left_out(make_gguf: Any) -> None:
    ids = {"tokenizer__ggml__bos_token_id": 2**32 - 1, "tokenizer__ggml__eos_token_id": -1}
    config = load_config(changed(read_header(make_gguf("qwen3")), tokenizer__ggml__eot_token_id=1, **ids), 8)
    assert (config.bos, config.eos) == (None, (1,))
