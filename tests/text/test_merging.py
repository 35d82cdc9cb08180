"""Properties of the two merge engines: nothing is lost, and the fast ones agree with the plain definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Engine
from tokenizers import models

from executorch_ggml.llm.text.tokenizer import Tokenizer
from executorch_ggml.llm.text.vocabulary import NORMAL

Metadata = dict[str, Any]
words = st.text(st.sampled_from("thendaxl 123\n\u00e9\U0001f642\u2581"), max_size=40)
anything = st.text(max_size=60)


def naive_spm(tokenizer: Tokenizer, text: str) -> list[int]:
    """The definition: while any two neighbours make a token, merge the best pair, the leftmost of equals."""
    vocabulary = tokenizer.vocabulary
    usable = {text: i for text, i in vocabulary.ids.items() if vocabulary.types[i] == 1}
    symbols = list((" " + text).replace(" ", "\u2581"))
    while True:
        pairs = [
            (-vocabulary.scores[usable[a + b]], i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in usable
        ]
        if not pairs:
            break
        _, i = min(pairs)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]
    out: list[int] = []
    for symbol in symbols:
        out += [usable[symbol]] if symbol in usable else [3 + b for b in symbol.encode()]
    return out


def test_spm_agrees_with_the_definition(spm_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_metadata(spm_metadata)

    @settings(max_examples=300, deadline=None)
    @given(words.filter(bool))
    def check(text: str) -> None:
        assert tokenizer.encode(text, add_special=False) == naive_spm(tokenizer, text)

    check()


def test_spm_agrees_with_the_library(metadata_for: Callable[[str], Metadata]) -> None:
    """`tokenizers` merges by a list of merges; made from the scores of a real vocabulary, it gives the same ids.

    Ours has no such list, because making it takes seconds for large vocabularies (docs/architecture.md).
    """
    tokenizer = Tokenizer.from_metadata(metadata_for("llama-spm"))
    vocabulary = tokenizer.vocabulary
    assert vocabulary.unk_id is not None
    usable = {text: i for text, i in vocabulary.ids.items() if vocabulary.types[i] == NORMAL}
    ranked = sorted(
        (-vocabulary.scores[i], i, text[:k], text[k:])
        for text, i in usable.items()
        for k in range(1, len(text))
        if text[:k] in usable and text[k:] in usable
    )
    known = {f"<0x{b:02X}>": vocabulary.ids[f"<0x{b:02X}>"] for b in range(256)}
    unknown = vocabulary.tokens[vocabulary.unk_id]
    engine = Engine(
        models.BPE(
            vocab={**usable, **known, unknown: vocabulary.unk_id},
            merges=[(left, right) for _, _, left, right in ranked],
            byte_fallback=True,
            unk_token=unknown,
        )
    )

    @settings(max_examples=500, deadline=None)
    @given(st.one_of(words, anything, st.text(st.sampled_from("aa the=-.\t\n\u65e5"), max_size=80)))
    def check(text: str) -> None:
        spaced = (" " + text if text else "").replace(" ", "\u2581")
        expected = engine.encode(spaced, add_special_tokens=False).ids
        assert tokenizer.encode(text, add_special=False) == expected

    check()


def test_spm_round_trip(spm_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_metadata(spm_metadata)

    @settings(max_examples=300, deadline=None)
    @given(anything)
    def check(text: str) -> None:
        # U+2581 stands for the space in these vocabularies, so it cannot itself come back
        assert tokenizer.decode(tokenizer.encode(text)) == text.replace("\u2581", " ")

    check()


def naive_bpe(tokenizer: Tokenizer, word: str) -> list[int]:
    vocabulary = tokenizer.vocabulary
    ranks = {pair: i for i, pair in enumerate(vocabulary.merges)}
    symbols = list(word)
    while True:
        pairs = [(ranks[pair], i) for i, pair in enumerate(pairwise(symbols)) if pair in ranks]
        if not pairs:
            return [vocabulary.ids[symbol] for symbol in symbols]
        _, i = min(pairs)
        symbols[i : i + 2] = [symbols[i] + symbols[i + 1]]


def test_bpe_agrees_with_the_definition(bpe_metadata: Metadata) -> None:
    tokenizer = Tokenizer.from_metadata(bpe_metadata)

    @settings(max_examples=300, deadline=None)
    @given(st.text(st.sampled_from("thendl"), min_size=1, max_size=30))
    def check(word: str) -> None:  # letters only: one word for the pre-tokenizer
        assert tokenizer.encode(word) == naive_bpe(tokenizer, word)

    check()


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe", "qwen2", "deepseek-v3", "tekken", "gpt-4o", "default", "bloom"])
def test_bpe_round_trip(bpe_metadata: Metadata, pre: str) -> None:
    tokenizer = Tokenizer.from_metadata({**bpe_metadata, "tokenizer.ggml.pre": pre})

    @settings(max_examples=100, deadline=None)
    @given(anything | words)
    def check(text: str) -> None:
        assert tokenizer.decode(tokenizer.encode(text)) == text

    check()
