"""Ids, options and prompts of callers: taken as they are, or refused with a typed error; nothing is rounded or cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from executorch_ggml.errors import InvalidArgumentError, ValueRangeError
from executorch_ggml.llm.text.generate import encode_prompt
from executorch_ggml.llm.text.sampling import Sampling, sample
from executorch_ggml.llm.text.token_ids import token_ids
from executorch_ggml.llm.text.tokenizer import Tokenizer

LOGITS = np.array([0.5, 3.0, 2.0], np.float32)


@pytest.mark.parametrize("value", [1.7, 1.0, "1", None, True, [1], np.float32(1), np.array([1, 2])])
def test_what_is_no_integer(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"prompt\[1\]|list of token ids"):
        encode_prompt(None, [0, value])


@pytest.mark.parametrize("value", [-1, 2**31, 2**40, 2**64, np.int64(2**40)])
def test_what_no_vocabulary_has(value: Any) -> None:
    with pytest.raises(ValueRangeError, match=str(int(value))):
        encode_prompt(None, [0, value])


@pytest.mark.parametrize("prompt", [None, 5, b"abc", {"role": "user"}, 1.5])
def test_what_is_no_prompt(prompt: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="a prompt is"):
        encode_prompt(None, prompt)


def test_integers_of_every_library() -> None:
    torch = pytest.importorskip("torch")
    for values in ([1, 2], (np.int32(1), np.uint8(2)), np.array([1, 2], np.int64), torch.tensor([1, 2]), iter([1, 2])):
        assert token_ids(values, "x") == [1, 2]


def test_ids_and_texts_of_the_tokenizer(bpe_metadata: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    for bad in ([1.7], ["a"]):
        with pytest.raises(InvalidArgumentError):
            tokenizer.decode(bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="int"):
        tokenizer.encode(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["temperature", "top_p", "min_p", "repeat_penalty"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_options_that_are_not_finite(option: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=option):
        sample(LOGITS, **{option: float(value) if isinstance(value, float) else value})


def test_top_p_of_zero_takes_the_argmax() -> None:
    assert {sample(LOGITS, temperature=5.0, top_p=0, seed=seed) for seed in range(1, 30)} == {1}
    assert {sample(LOGITS, temperature=5.0, top_p=1, seed=seed) for seed in range(1, 30)} == {0, 1, 2}


def test_numbers_of_numpy_are_options() -> None:
    assert Sampling(temperature=np.float32(0.5), top_k=np.int64(3)) == Sampling(temperature=0.5, top_k=3)
    assert sample(LOGITS, top_k=np.int64(1), seed=np.uint32(7)) == 1


@pytest.mark.parametrize("history", [[1.7], ["a"], None, [True]])
def test_histories(history: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="history"):
        sample(LOGITS, history)
    with pytest.raises(ValueRangeError, match="1099511627776"):
        sample(LOGITS, [2**40])


@pytest.mark.parametrize("name", ["padding", "bos", "eos", "eot", "fim_pad", "mask", "unknown"])
@pytest.mark.parametrize("value", [2**32 - 1, -1, 267])
def test_special_ids_beyond_the_vocabulary(
    name: str, value: int, bpe_metadata: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Files in circulation write -1 for none, as 2^32 - 1: a warning, as in llama.cpp, and text works."""
    plain = Tokenizer.from_metadata(dict(bpe_metadata)).encode("the and 123")
    bpe_metadata[f"tokenizer.ggml.{name}_token_id"] = value
    tokenizer = Tokenizer.from_metadata(bpe_metadata)
    assert tokenizer.encode("the and 123") == plain
    assert all(0 <= i < 267 for i in tokenizer.end_ids)
    assert f"tokenizer.ggml.{name}_token_id is {value}" in caplog.text


def test_defaults_take_their_place(spm_metadata: dict[str, Any]) -> None:
    spm_metadata["tokenizer.ggml.bos_token_id"] = 2**32 - 1
    assert Tokenizer.from_metadata(spm_metadata).bos_id == 1
