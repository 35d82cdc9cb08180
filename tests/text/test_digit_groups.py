"""Pre-tokenizers that group digits from the right: the cuts of the models' own expressions, in linear time."""

from __future__ import annotations

import random
import time

import pytest
from tokenizers import Regex, pre_tokenizers

from executorch_ggml.llm.text.pretokenizers import PRE_TOKENIZERS

# The expressions as the models' tokenizer.json has them; all look ahead to the end of the digits at every group.
ORIGINAL = {
    "superbpe": (r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
    "tiny_aya": (r"\d{1,3}(?=(?:\d{3})*\b)",),
    "afmoe": (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",),
}
# Digits of two scripts, other numerals, letters, what joins words, marks.
ALPHABET = [*"0123789", "\u0663", "\u096b", "\u00b2", "\u00bd", "\u2167", *"ax_ .,-\n", "\u0301", "\u200d", "\u65e5"]


def splitter(patterns: tuple[str, ...]) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])


@pytest.mark.parametrize("name", [*ORIGINAL])
def test_cuts_are_the_same(name: str) -> None:
    wanted, ours = splitter(ORIGINAL[name]), splitter(PRE_TOKENIZERS[name].patterns[: len(ORIGINAL[name])])
    rng = random.Random(0)
    for round_ in range(3000):
        digits = [9 if letter.isdecimal() else 1 for letter in ALPHABET]
        weights = digits if round_ % 2 else [1] * len(ALPHABET)
        text = "".join(rng.choices(ALPHABET, weights, k=rng.randrange(1, 40)))
        assert ours.pre_tokenize_str(text) == wanted.pre_tokenize_str(text), text


@pytest.mark.parametrize("name", [*ORIGINAL])
@pytest.mark.parametrize("text", ["7", "77\u00bd", "7_", "x777", "\u0663"])
@pytest.mark.parametrize("end", ["", "x", "_", "\u00bd"])
def test_long_runs(name: str, text: str, end: str) -> None:
    start = time.process_time()
    splitter(PRE_TOKENIZERS[name].patterns).pre_tokenize_str(text * (100_000 // len(text)) + end)
    assert time.process_time() - start < 2  # ten and more with the originals
