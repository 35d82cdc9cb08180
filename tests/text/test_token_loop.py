"""The native loop on a tiny model: it is the program's own logits, whatever way the sequence came about."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from shared_models import TinyLlm

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.errors import (
    BusyError,
    CancelledError,
    GgmlError,
    InvalidArgumentError,
    UnsupportedError,
    ValueRangeError,
)
from executorch_ggml.llm.text.sampling import Sampling, sample
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.runtime.program import Program

PROMPT = [5, 6, 7, 8, 9, 10, 11]


@pytest.fixture(scope="module")
def program(tiny_llm: TinyLlm) -> Program:
    return Program(tiny_llm.pte, tiny_llm.gguf, threads=1, cache_type="f32")


def direct(program: Program, tokens: list[int]) -> np.ndarray:
    program.reset()
    (logits,) = program.execute("forward", [np.array([tokens], np.int64), np.arange(len(tokens), dtype=np.int64)])
    return np.array(logits[0, -1])


def close(a: np.ndarray, b: np.ndarray) -> bool:
    return nmse(a, b) < 1e-9


def greedy(program: Program, tokens: list[int], count: int) -> list[int]:
    out: list[int] = []
    for _ in range(count):
        out.append(int(direct(program, tokens + out).argmax()))
    return out


@pytest.mark.parametrize("max_chunk", [0, 1, 3, 1000])
def test_logits_and_tokens(program: Program, max_chunk: int) -> None:
    expected = greedy(program, PROMPT, 6)
    wanted = direct(program, PROMPT)
    loop = TokenLoop(program, max_chunk=max_chunk)
    loop.feed(PROMPT)
    assert close(loop.logits(), wanted)
    assert [loop.next() for _ in range(6)] == expected
    assert loop.tokens == PROMPT + expected
    assert loop.position == len(loop.tokens)
    # the logits after a draw are still those it was drawn from
    assert int(loop.logits().argmax()) == expected[-1]


def test_feeding_runs_the_pending_token(program: Program) -> None:
    loop = TokenLoop(program)
    loop.feed(PROMPT)
    token = loop.next()
    loop.feed([3, 4])
    assert close(loop.logits(), direct(program, [*PROMPT, token, 3, 4]))


@pytest.mark.parametrize("n", [0, 1, 4, 7, 8])
def test_rewind(program: Program, n: int) -> None:
    expected = greedy(program, PROMPT, 2)
    loop = TokenLoop(program)
    loop.feed(PROMPT)
    assert loop.next() == expected[0]
    loop.rewind(n)
    assert loop.position == n
    rest = [*PROMPT, expected[0]][n:]
    if rest:
        loop.feed(rest)
    assert loop.next() == expected[1]
    with pytest.raises(InvalidArgumentError, match="10"):
        loop.rewind(10)


def test_rewind_alone_continues_from_there(program: Program) -> None:
    expected = greedy(program, PROMPT[:4], 1)
    loop = TokenLoop(program)
    loop.feed(PROMPT)
    loop.next()
    loop.rewind(4)
    with pytest.raises(InvalidArgumentError, match="no current logits"):
        loop.logits()
    assert loop.next() == expected[0]


def test_the_cache_is_full(program: Program, tiny_llm: TinyLlm) -> None:
    loop = TokenLoop(program)
    loop.feed([1] * (tiny_llm.max_seq_len - 2))
    before = [loop.next(), loop.next()]
    with pytest.raises(ValueRangeError, match=f"{tiny_llm.max_seq_len + 1} tokens .* {tiny_llm.max_seq_len} positions"):
        loop.feed([1])
    assert loop.position == tiny_llm.max_seq_len
    loop.next()  # of the last position's logits
    with pytest.raises(ValueRangeError, match="positions of the cache"):
        loop.next()
    loop.rewind(tiny_llm.max_seq_len - 2)
    assert [loop.next(), loop.next()] == before


@pytest.mark.parametrize("tokens", [[-1], [5, 10**6], [2**40], [-(2**40)]])
def test_unknown_tokens_change_nothing(program: Program, tokens: list[int]) -> None:
    loop = TokenLoop(program)
    loop.feed(PROMPT)
    logits = loop.logits()
    with pytest.raises(ValueRangeError):
        loop.feed(tokens)
    assert loop.position == len(PROMPT)
    assert np.array_equal(loop.logits(), logits)


def test_two_loops_on_one_program(program: Program) -> None:
    other = [20, 21, 22]
    expected = greedy(program, PROMPT, 4), greedy(program, other, 4)
    a, b = TokenLoop(program), TokenLoop(program)
    a.feed(PROMPT)
    b.feed(other)
    got: tuple[list[int], list[int]] = ([], [])
    for _ in range(4):
        got[0].append(a.next())
        got[1].append(b.next())
    assert got == expected


def test_calls_between_the_draws(program: Program) -> None:
    expected = greedy(program, PROMPT, 3)
    loop = TokenLoop(program)
    loop.feed(PROMPT)
    got = [loop.next()]
    direct(program, [30, 31])  # resets and overwrites the cache
    with pytest.raises(InvalidArgumentError, match="no current logits"):
        loop.logits()
    got += [loop.next(), loop.next()]
    assert got == expected
    program.execute("get_max_seq_len", [])  # touches no state
    assert int(loop.logits().argmax()) == expected[-1]


def test_sampling_is_the_sampler_on_the_logits(program: Program) -> None:
    sampling = Sampling(temperature=1.5, top_k=50, top_p=0.9, repeat_penalty=1.3, seed=11)
    loop = TokenLoop(program, sampling)
    loop.feed(PROMPT)
    first = loop.next()
    assert first == sample(loop.logits(), PROMPT, sampling)
    again = TokenLoop(program, sampling)
    again.feed(PROMPT)
    drawn = [again.next() for _ in range(8)]
    assert drawn[0] == first
    assert drawn[1:] == [loop.next() for _ in range(7)]


def test_progress_and_cancel(program: Program) -> None:
    fractions: list[float] = []
    loop = TokenLoop(program, max_chunk=2)
    loop.feed(PROMPT, fractions.append)
    assert fractions == pytest.approx([2 / 7, 4 / 7, 6 / 7, 1])
    loop.rewind(0)
    with pytest.raises(CancelledError):
        loop.feed(PROMPT, lambda fraction: fraction < 0.5)
    assert loop.position == 0
    assert loop.tokens == []

    def interrupt(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.feed(PROMPT, interrupt)
    loop.feed(PROMPT)
    assert [loop.next()] == greedy(program, PROMPT, 1)


def test_a_failed_feed_leaves_the_sequence(program: Program) -> None:
    expected = greedy(program, PROMPT, 1)
    loop = TokenLoop(program, max_chunk=1)
    loop.feed(PROMPT)
    with pytest.raises(CancelledError):
        loop.feed([1, 2, 3], lambda fraction: False)
    assert loop.position == len(PROMPT)
    assert [loop.next()] == expected


def test_another_thread_inside(program: Program) -> None:
    loop, other = TokenLoop(program, max_chunk=1), TokenLoop(program)
    inside, go_on = threading.Event(), threading.Event()

    def hold(fraction: float) -> None:
        inside.set()
        assert go_on.wait(60)

    thread = threading.Thread(target=loop.feed, args=(PROMPT, hold))
    thread.start()
    assert inside.wait(60)
    try:
        for call in (lambda: other.feed([1]), lambda: loop.logits()):
            with pytest.raises(BusyError):
                call()
    finally:
        go_on.set()
        thread.join()
    other.feed([1])
    assert loop.position == len(PROMPT)
    assert [loop.next()] == greedy(program, PROMPT, 1)


@pytest.mark.parametrize("options", [{"method": "get_vocab_size"}, {"method": "nothing"}, {"max_chunk": -1}])
def test_refused_methods_and_options(program: Program, options: dict[str, object]) -> None:
    with pytest.raises((UnsupportedError, InvalidArgumentError)):
        TokenLoop(program, **options)  # type: ignore[arg-type]


def test_nothing_to_continue_and_closed(program: Program) -> None:
    loop = TokenLoop(program)
    for call in (loop.next, loop.logits, lambda: loop.feed([])):
        with pytest.raises(InvalidArgumentError):
            call()
    loop.close()
    with pytest.raises(GgmlError, match="closed"):
        loop.next()
