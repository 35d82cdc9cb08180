"""The native sampler against a reference written from its documentation, the random sequence included."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from executorch_ggml.errors import InvalidArgumentError, ValueRangeError
from executorch_ggml.llm.text.sampling import sample

LOGITS = np.random.default_rng(7).normal(0, 3, 5000).astype(np.float32)


def mt19937_64_first(seed: int) -> int:
    """The first output of std::mt19937_64, from the definition in the C++ standard."""
    mask, low = 2**64 - 1, 2**31 - 1
    state = [seed]
    for i in range(1, 312):
        state.append((6364136223846793005 * (state[-1] ^ (state[-1] >> 62)) + i) & mask)
    y = (state[0] & ~low & mask) | (state[1] & low)
    x = state[156] ^ (y >> 1) ^ (0xB5026F5AA96619E9 if y & 1 else 0)
    x ^= (x >> 29) & 0x5555555555555555
    x ^= (x << 17) & 0x71D67FFFEDA60000 & mask
    x ^= (x << 37) & 0xFFF7EEE000000000 & mask
    return x ^ (x >> 43)


def reference(
    logits: np.ndarray, seed: int, *, temperature: float, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> int:
    order = list(range(len(logits)))
    if top_k or top_p < 1 or min_p:
        order.sort(key=lambda i: (-float(logits[i]), i))
        if top_k:
            order = order[:top_k]
        weights = np.exp(logits[order].astype(np.float64) - float(logits.max()))
        if top_p < 1:
            order = order[: int(np.searchsorted(np.cumsum(weights), top_p * weights.sum())) + 1]
        order = [
            i for i in order if logits[i] >= float(logits.max()) + np.float32(math.log(min_p) if min_p else -np.inf)
        ]
    weights = np.exp((logits[order].astype(np.float64) - float(logits[order].max())) / temperature)
    target = (mt19937_64_first(seed) >> 11) * 2.0**-53 * weights.sum()
    return order[min(int(np.searchsorted(np.cumsum(weights), target, side="right")), len(order) - 1)]


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.0},
        {"temperature": 0.3},
        {"temperature": 5.0},
        {"temperature": 1.0, "top_k": 1},
        {"temperature": 1.0, "top_k": 40},
        {"temperature": 1.0, "top_k": 10**6},
        {"temperature": 1.0, "top_p": 0.9},
        {"temperature": 1.0, "top_p": 0.9999},
        {"temperature": 1.0, "top_p": 1e-6},
        {"temperature": 1.0, "min_p": 0.05},
        {"temperature": 1.0, "min_p": 1.0},
        {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.02},
    ],
)
def test_agrees_with_the_reference(options: dict[str, Any]) -> None:
    for seed in (1, 2, 3, 12345, 2**63 - 1, *range(100, 120)):
        assert sample(LOGITS, seed=seed, **options) == reference(LOGITS, seed, **options), (seed, options)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 1023, 1024, 1025, 5000])
def test_greedy_is_argmax(n: int) -> None:
    assert sample(LOGITS[:n]) == int(LOGITS[:n].argmax())
    assert sample(-np.abs(LOGITS[:n]) - 1e30) == int((-np.abs(LOGITS[:n]) - 1e30).argmax())


def test_ties_go_to_the_lowest_id() -> None:
    logits = np.zeros(3000, np.float32)
    assert sample(logits) == 0
    logits[[40, 1700, 2999]] = 1
    assert sample(logits) == 40
    assert {sample(logits, temperature=1.0, top_k=2, seed=seed) for seed in range(1, 60)} == {40, 1700}


def test_distribution() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    n = 4000
    counts = Counter(sample(logits, temperature=1.0, seed=seed) for seed in range(1, n + 1))
    chi2 = sum((counts[i] - n * p) ** 2 / (n * p) for i, p in enumerate([0.5, 0.3, 0.15, 0.05]))
    assert chi2 < 16.3  # 0.1 % of the chi-squared distribution with three degrees of freedom
    warm = Counter(sample(logits, temperature=2.0, seed=seed) for seed in range(1, n + 1))
    weights = np.sqrt([0.5, 0.3, 0.15, 0.05])
    chi2 = sum((warm[i] - n * p) ** 2 / (n * p) for i, p in enumerate(weights / weights.sum()))
    assert chi2 < 16.3


def test_seeds() -> None:
    draws = [sample(LOGITS, temperature=3.0, seed=9) for _ in range(5)]
    assert len(set(draws)) == 1
    assert len({sample(LOGITS, temperature=3.0) for _ in range(40)}) > 10  # seed 0: another one each time


def test_repetition_penalty() -> None:
    logits = np.array([2.0, 1.5, -1.0, -1.2], np.float32)
    assert sample(logits, [0], repeat_penalty=2.0) == 1
    assert sample(logits, [0, 0, 0], repeat_penalty=1.2) == 0  # once for each token, not for each occurrence
    assert sample(logits[2:], [0], repeat_penalty=1.5) == 1  # negative logits get more so
    assert sample(logits, [0, 5, 5], repeat_penalty=2.0, repeat_last_n=2) == 0
    assert sample(logits, [0, 3, 3], repeat_penalty=2.0, repeat_last_n=-1) == 1
    assert sample(logits, [0], repeat_penalty=2.0, repeat_last_n=0) == 0
    assert sample(logits, [-7, 99], repeat_penalty=2.0) == 0


def test_masked_tokens_are_never_drawn() -> None:
    logits = np.full(100, -np.inf, np.float32)
    logits[[3, 60]] = 0
    for options in ({}, {"top_k": 50}, {"top_p": 0.99}, {"min_p": 0.001}):
        assert {sample(logits, temperature=1.0, seed=s, **options) for s in range(1, 40)} == {3, 60}


@pytest.mark.parametrize("place", [0, 15, 16, 1024, 4999])
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0}, {"temperature": 1.0, "top_k": 3}, {"repeat_penalty": 2.0}]
)
def test_broken_logits(place: int, options: dict[str, Any]) -> None:
    for value, word in ((np.nan, f"token {place} of 5000"), (np.inf, "infinity")):
        logits = LOGITS.copy()
        logits[place] = value
        with pytest.raises(ValueRangeError, match=word):
            sample(logits, [1, 2], **options)
    with pytest.raises(ValueRangeError, match="finite"):
        sample(np.full(10, -np.inf), **options)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": float("nan")}, "JSON|temperature"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"min_p": 2}, "min_p"),
        ({"repeat_penalty": 0.0}, "repeat_penalty"),
        ({"repeat_last_n": -2}, "repeat_last_n"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_bad_options(options: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgumentError, match=word):
        sample([1.0, 2.0], **options)


def test_bad_shapes() -> None:
    with pytest.raises(InvalidArgumentError):
        sample(np.zeros((2, 2)))
    with pytest.raises(InvalidArgumentError):
        sample([])
