"""The small parts: mel filters, vocabularies, transcripts, feature blocks, statistics, the transducer's search."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executorch_ggml.errors import AudioError, FormatError, InvalidArgumentError
from executorch_ggml.speech.frontend import FeatureStream, Statistics
from executorch_ggml.speech.mel import mel_filters
from executorch_ggml.speech.parakeet.config import ParakeetConfig
from executorch_ggml.speech.parakeet.decode import GreedyDecoder
from executorch_ggml.speech.transcript import Token, Transcript
from executorch_ggml.speech.vocabulary import Vocabulary, decode_json, decode_pieces, encode_pieces

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(("bins", "n_fft"), [(128, 512), (80, 400), (32, 512)])
def test_mel_filters(bins: int, n_fft: int) -> None:
    from transformers.audio_utils import mel_filter_bank

    wanted = mel_filter_bank(n_fft // 2 + 1, bins, 0.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(bins, n_fft, 16000), wanted.T, atol=1e-7)


@given(st.lists(st.binary(max_size=9), max_size=20))
def test_vocabulary_survives(pieces: list[bytes]) -> None:
    assert decode_pieces(encode_pieces(pieces)) == pieces


@given(st.binary(max_size=40))
def test_vocabulary_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert encode_pieces(decode_pieces(data)) == data


def test_json_that_is_none() -> None:
    for data in (b"", b"{", b"[]", b"\xff"):
        with pytest.raises(FormatError, match="speech_config"):
            decode_json(data)


def test_text_of_ids_beyond_the_table() -> None:
    assert Vocabulary([b" a", "é".encode()[:1], "é".encode()[1:]]).text([0, 1, 2, 7, -1]) == "aé"


def test_words() -> None:
    pieces = [b" he", b"llo", b" ", b"you", b"!"]
    tokens = [Token(i, p, i / 10, (i + 1) / 10) for i, p in enumerate(pieces)]
    words = [(w.text, w.start, w.end) for w in Transcript(tokens).words()]
    assert words == [("hello", 0.0, 0.2), ("you!", 0.2, 0.5)]
    assert list(Transcript().words()) == []


@given(
    length=st.integers(1, 3000), cuts=st.lists(st.integers(0, 3000), max_size=4), at_once=st.integers(2, 9),
    least=st.sampled_from([1, 2]),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_features_of_blocks(length: int, cuts: list[int], at_once: int, least: int) -> None:
    """Frames do not depend on how a recording is cut, and no call takes fewer or more than allowed."""
    sizes: list[int] = []

    def spectrum(samples: Any) -> Any:
        frames = (samples.shape[1] - 30) // 10
        assert samples.shape == (1, 10 * frames + 30)
        sizes.append(frames)
        return np.stack([samples[:, 10 * t : 10 * t + 40].reshape(1, 4, 10).sum(2) for t in range(frames)], axis=1)

    def make(blocks: Any) -> Any:
        stream = FeatureStream(spectrum, hop=10, window=40, preemphasis=0.5, at_once=at_once, shortest=3, least=least)
        return np.concatenate(list(stream(blocks)))

    samples = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    whole = make([samples])
    assert len(whole) == max(length // 10, 3)
    np.testing.assert_array_equal(make(np.split(samples, sorted(min(c, length) for c in cuts))), whole)
    assert all(least <= n <= at_once + least - 1 for n in sizes)


@pytest.mark.parametrize(("block", "reason"), [([0.0, float("nan")], "finite"), ([[0.0, 1.0]], r"shape \[1, 2\]")])
def test_blocks_that_are_no_audio(block: Any, reason: str) -> None:
    stream = FeatureStream(lambda x: x, hop=10, window=40, preemphasis=0.0, at_once=4, shortest=3)
    with pytest.raises(AudioError, match=reason):
        list(stream([np.zeros(7), block]))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_statistics_in_pieces(sizes: list[int]) -> None:
    frames = np.random.default_rng(sum(sizes)).standard_normal((sum(sizes), 5)).astype(np.float32) * 3 + 100
    statistics = Statistics(5)
    for part in np.split(frames, np.cumsum(sizes)[:-1]):
        statistics.add(part)
    spread = frames.astype(np.float64).std(0, ddof=1) if len(frames) > 1 else 0.0
    wanted = (frames - frames.astype(np.float64).mean(0)) / (spread + 1e-5)
    np.testing.assert_allclose(statistics.normalise(frames), wanted, atol=1e-3)


def plain_search(table: Any, durations: list[int], max_symbols: int) -> list[tuple[int, int, int]]:
    """The search as its definition says it; table[t, last token, symbols so far] -> (token, index of a duration)."""
    found, time, last, count = [], 0, 0, 0
    while time < len(table):
        symbols = 0
        while True:
            token, index = table[time, last, count % table.shape[2]]
            skip = durations[index]
            if token == 0:
                time += max(skip, 1)
                break
            found.append((int(token), time, skip))
            last, count, symbols = token, count + 1, symbols + 1
            if skip or symbols == max_symbols:
                time += skip or 1
                break
    return found


@given(
    seed=st.integers(0, 10_000), frames=st.integers(1, 40), max_symbols=st.integers(1, 4), lookahead=st.integers(1, 8),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_transducer_search(seed: int, frames: int, max_symbols: int, lookahead: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    table = np.stack((rng.integers(0, 4, (frames, 4, 5)), rng.integers(0, 4, (frames, 4, 5))), axis=-1)
    durations = [0, 1, 2, 6]
    calls = 0

    def predict(token: int) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        return token, calls - 1  # the first call is for the blank

    def join(part: Any, prediction: tuple[int, int]) -> tuple[Any, Any]:
        assert 1 <= part.shape[1] <= lookahead
        rows = table[part[0, :, 0].astype(int), prediction[0], prediction[1] % 5]
        return rows[:, 0], rows[:, 1]

    decoder = GreedyDecoder(predict, join, durations=durations, blank=0, max_symbols=max_symbols, lookahead=lookahead)
    found, first = [], 0
    for part in np.split(np.arange(frames, dtype=np.float32), sorted(min(c, frames) for c in cuts)):
        found += [(e.token, e.frame, e.duration) for e in decoder.feed(part[None, :, None], first)]
        first += len(part)
    assert found == plain_search(table, durations, max_symbols)


@pytest.mark.parametrize(
    "change", [{"heads": 3}, {"kernel": 8}, {"subsampling": 6}, {"durations": ()}, {"durations": (0,)}, {"layers": 0}]
)
def test_configurations_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        ParakeetConfig(**change)
