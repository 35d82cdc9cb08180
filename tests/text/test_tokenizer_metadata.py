"""Malformed tokenizer metadata: a typed error that names the key, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from executorch_ggml.errors import FormatError, GgmlError, UnsupportedError
from executorch_ggml.llm.text.tokenizer import Tokenizer

Metadata = dict[str, Any]
Change = Callable[[Metadata], object]
P = "tokenizer.ggml."


@pytest.mark.parametrize(
    "change, kind, message",
    [
        (lambda m: m.pop(P + "model"), FormatError, "tokenizer.ggml.model"),
        (lambda m: m.update({P + "model": 7}), FormatError, "tokenizer.ggml.model is the int 7"),
        (lambda m: m.update({P + "model": "rwkv"}), UnsupportedError, "RWKV"),
        (lambda m: m.update({P + "model": "brandnew"}), UnsupportedError, "brandnew"),
        (lambda m: m.update({P + "pre": "gpt-22"}), UnsupportedError, "gpt-2"),
        (lambda m: m.update({P + "pre": ["gpt-2"]}), FormatError, "tokenizer.ggml.pre"),
        (lambda m: m.pop(P + "tokens"), FormatError, "tokenizer.ggml.tokens"),
        (lambda m: m.update({P + "tokens": []}), FormatError, "tokenizer.ggml.tokens"),
        (lambda m: m.update({P + "tokens": "abc"}), FormatError, "array of strings"),
        (lambda m: m.update({P + "tokens": np.arange(5)}), FormatError, r"tokens\[0\]"),
        (lambda m: m[P + "tokens"].__setitem__(3, 4), FormatError, r"tokens\[3\]"),
        (lambda m: m[P + "tokens"].__setitem__(3, "\udc80"), FormatError, r"tokens\[3\] is not valid UTF-8"),
        (lambda m: m[P + "tokens"].__setitem__(3, m[P + "tokens"][4]), FormatError, "both token 3 and token 4"),
        (lambda m: m[P + "token_type"].pop(), FormatError, "token_type has 266 elements, .* has 267"),
        (lambda m: m.update({P + "token_type": np.ones(267, np.int8)}), FormatError, "int8; expected int32"),
        (lambda m: m.update({P + "token_type": [1.5] * 267}), FormatError, "token_type has elements"),
        (lambda m: m.update({P + "token_type": ["1"] * 267}), FormatError, "not an array of numbers"),
        (lambda m: m.update({P + "token_type": 1}), FormatError, "token_type"),
        (lambda m: m.update({P + "scores": [0.0]}), FormatError, "scores has 1 elements"),
        (lambda m: m.update({P + "scores": [float("nan")] * 267}), FormatError, r"scores\[0\] is not a finite"),
        (lambda m: m.pop(P + "merges"), FormatError, "tokenizer.ggml.merges is missing"),
        (lambda m: m[P + "merges"].append("ab"), FormatError, r"merges\[9\] is 'ab'"),
        (lambda m: m[P + "merges"].append("a "), FormatError, r"merges\[9\]"),
        (lambda m: m[P + "merges"].append("q z"), FormatError, r"merges\[9\] needs 'qz'"),
        (lambda m: m.update({P + "eos_token_id": "2"}), FormatError, "expected an integer"),
        (lambda m: m.update({P + "eos_token_id": True}), FormatError, "expected an integer"),
        (lambda m: m.update({P + "add_bos_token": True}), FormatError, "no tokenizer.ggml.bos_token_id"),
        (lambda m: m.update({P + "add_bos_token": 1}), FormatError, "expected a boolean"),
        (lambda m: m.update({"tokenizer.chat_template": 5}), FormatError, "tokenizer.chat_template"),
    ],
)
def test_bpe(bpe_metadata: Metadata, change: Change, kind: type[GgmlError], message: str) -> None:
    change(bpe_metadata)
    with pytest.raises(kind, match=message):
        Tokenizer.from_metadata(bpe_metadata)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda m: m.pop(P + "scores"), "tokenizer.ggml.scores is missing"),
        (lambda m: m[P + "tokens"].__setitem__(10, "<0xZZ>"), "token.*byte token.*<0xZZ>"),
        (lambda m: m[P + "tokens"].__setitem__(10, "<0x-1>"), "byte token"),
        (lambda m: m[P + "tokens"].__setitem__(10, "x"), "byte token"),
    ],
)
def test_spm(spm_metadata: Metadata, change: Change, message: str) -> None:
    change(spm_metadata)
    with pytest.raises(FormatError, match=message):
        Tokenizer.from_metadata(spm_metadata)


def test_unknown_token_types_carry_no_text(bpe_metadata: Metadata) -> None:
    bpe_metadata[P + "token_type"][70] = 99
    assert Tokenizer.from_metadata(bpe_metadata).decode([70]) == ""


def test_empty_tokens_are_tolerated(bpe_metadata: Metadata) -> None:
    bpe_metadata[P + "tokens"] += ["", ""]
    bpe_metadata[P + "token_type"] += [5, 5]
    assert len(Tokenizer.from_metadata(bpe_metadata)) == 269


def test_missing_pre_tokenizer_is_said(bpe_metadata: Metadata, caplog: pytest.LogCaptureFixture) -> None:
    del bpe_metadata[P + "pre"]
    Tokenizer.from_metadata(bpe_metadata)
    assert "tokenizer.ggml.pre" in caplog.text
