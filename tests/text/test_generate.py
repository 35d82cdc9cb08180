"""Generation on the bundled model: text as it streams, every way it can end, and what is left behind."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from shared_models import TinyLlm

from executorch_ggml.errors import FormatError, InvalidArgumentError, UnsupportedError, ValueRangeError
from executorch_ggml.llm.module import GGUFModule
from executorch_ggml.llm.text.generate import Generation, encode_prompt, generate, tokenizer_of
from executorch_ggml.llm.text.token_loop import TokenLoop
from executorch_ggml.llm.text.tokenizer import Tokenizer

PROMPT = "In the beginning God"


@pytest.fixture(scope="module")
def module(bundled: TinyLlm) -> Iterator[GGUFModule]:
    with GGUFModule(bundled.pte, bundled.gguf, threads=1) as module:
        yield module


@pytest.fixture(scope="module")
def answer(module: GGUFModule) -> Generation:
    """24 greedy tokens, to compare with."""
    generation = module.generate(PROMPT, max_tokens=24)
    assert "".join(generation) == generation.text
    return generation


def test_pieces(module: GGUFModule, answer: Generation) -> None:
    generation = module.generate(PROMPT, max_tokens=24)
    pieces = list(generation)
    assert "".join(pieces) == answer.text == tokenizer_of(module.gguf).decode(answer.tokens)
    assert [token for piece in pieces for token in piece.tokens] == generation.tokens == answer.tokens
    assert len(pieces) > 8
    assert (generation.finish_reason, len(generation.tokens)) == ("length", 24)
    assert list(generation) == []
    stats = generation.stats
    assert (stats.prompt_tokens, stats.tokens, stats.reused_tokens) == (len(generation.prompt_tokens), 24, 0)
    assert 0 < stats.prompt_seconds <= stats.time_to_first_token
    assert stats.tokens_per_second > 0
    assert "tok/s" in str(stats)


def test_prompt_as_tokens(module: GGUFModule, answer: Generation) -> None:
    assert module.generate(answer.prompt_tokens, max_tokens=24).read() == answer.text


def test_without_a_tokenizer(module: GGUFModule, answer: Generation) -> None:
    generation = generate(module.program, answer.prompt_tokens, max_tokens=5)
    assert list(generation) == [""] * 5
    assert generation.tokens == answer.tokens[:5]
    for options in ({"prompt": "text"}, {"prompt": [1], "stop": "x"}, {"prompt": [{"role": "user", "content": "x"}]}):
        with pytest.raises(InvalidArgumentError, match="tokenizer"):
            generate(module.program, **options)  # type: ignore[arg-type]


def test_stop_strings_span_pieces(module: GGUFModule, answer: Generation) -> None:
    for start in (0, 7, 20):
        stop = answer.text[start : start + 9]
        first = answer.text.index(stop)
        generation = module.generate(PROMPT, max_tokens=24, stop=["never to be seen", stop])
        assert "".join(generation) == generation.text == answer.text[:first]
        assert (generation.finish_reason, generation.stop_string) == ("stop", stop)
    assert module.generate(PROMPT, max_tokens=24, stop=answer.text[:4]).read() == ""
    # held back for a stop string that does not come
    assert module.generate(PROMPT, max_tokens=24, stop=answer.text[-5:] + "#").read() == answer.text


def test_end_tokens(module: GGUFModule, answer: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    end = answer.tokens[10]
    first = answer.tokens.index(end)
    vocabulary = tokenizer_of(module.gguf).vocabulary
    monkeypatch.setitem(vocabulary.__dict__, "end_ids", frozenset({end}))
    generation = module.generate(PROMPT, max_tokens=24)
    generation.read()
    assert (generation.finish_reason, generation.stop_token) == ("stop", end)
    assert generation.tokens == answer.tokens[:first]
    assert generation.stats.tokens == first + 1
    assert module.generate(PROMPT, max_tokens=24, ignore_end=True).read() == answer.text


def test_until_the_cache_is_full(module: GGUFModule, bundled: TinyLlm) -> None:
    generation = module.generate(PROMPT, ignore_end=True)
    generation.read()
    assert generation.finish_reason == "length"
    assert len(generation.prompt_tokens) + len(generation.tokens) == bundled.max_seq_len + 1
    too_long = module.generate([1] * (bundled.max_seq_len + 1))
    with pytest.raises(ValueRangeError, match=str(bundled.max_seq_len)):
        next(too_long)
    assert too_long.finish_reason == "error"
    assert list(too_long) == []


def test_no_tokens_asked(module: GGUFModule) -> None:
    generation = module.generate(PROMPT, max_tokens=0)
    assert list(generation) == []
    assert generation.finish_reason == "length"


def test_seeds(module: GGUFModule) -> None:
    def text(seed: int) -> str:
        return str(module.generate(PROMPT, max_tokens=16, temperature=1.0, top_p=0.95, seed=seed).read())

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(1, 6)}) > 2


def test_cancel_from_another_thread(module: GGUFModule, answer: Generation) -> None:
    for _ in range(5):
        generation = module.generate(PROMPT, ignore_end=True)
        next(generation)
        thread = threading.Thread(target=generation.cancel)
        thread.start()
        list(generation)
        assert generation.finish_reason in ("cancelled", "length")
        # however late the cancel is, what runs next is not hit by it
        assert module.generate(PROMPT, max_tokens=24).read() == answer.text
        thread.join()
    cancelled = module.generate(PROMPT)
    cancelled.cancel()
    assert list(cancelled) == []
    assert cancelled.finish_reason == "cancelled"
    assert module.generate(PROMPT, max_tokens=24).read() == answer.text


def test_progress(module: GGUFModule, answer: Generation) -> None:
    seen: list[float] = []
    assert module.generate(PROMPT, max_tokens=24, max_chunk=1, on_progress=seen.append).read() == answer.text
    assert seen == sorted(seen)
    assert len(seen) == len(answer.prompt_tokens)
    assert seen[-1] == 1
    stopped = module.generate(PROMPT, max_chunk=1, on_progress=lambda fraction: False)
    assert list(stopped) == []
    assert stopped.finish_reason == "cancelled"


def test_what_a_callback_raises(module: GGUFModule) -> None:
    def fail(fraction: float) -> None:
        raise ZeroDivisionError("mine")

    generation = module.generate(PROMPT, on_progress=fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        next(generation)
    assert generation.finish_reason == "error"


def test_dropping_frees_the_loop(module: GGUFModule, answer: Generation) -> None:
    generation = module.generate(PROMPT)
    next(generation)
    loop = weakref.ref(generation._loop)
    finalizer = generation._loop._finalizer
    del generation
    gc.collect()
    assert loop() is None
    assert not finalizer.alive
    with module.generate(PROMPT) as left_early:
        next(left_early)
    assert left_early.finish_reason == "cancelled"
    assert list(left_early) == []
    assert module.generate(PROMPT, max_tokens=24).read() == answer.text


def test_two_at_once(module: GGUFModule, answer: Generation) -> None:
    other = module.generate("And it came to pass", max_tokens=8).read()
    a, b = module.generate(PROMPT, max_tokens=8), module.generate("And it came to pass", max_tokens=8)
    texts = ["", ""]
    for pieces in zip(a, b, strict=False):
        for i, piece in enumerate(pieces):
            texts[i] += piece
    assert answer.text.startswith(texts[0])
    assert other.startswith(texts[1])
    assert texts[0]


def test_a_conversation_reuses_the_cache(module: GGUFModule) -> None:
    loop = TokenLoop(module.program)
    template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    messages: list[dict[str, str]] = []
    for turn in range(3):
        messages.append({"role": "user", "content": f"And he said {turn}"})
        generation = module.generate(messages, max_tokens=6, loop=loop, template=template)
        fresh = module.generate(messages, max_tokens=6, template=template).read()
        assert generation.read() == fresh
        messages.append({"role": "assistant", "content": generation.text})
    assert generation.stats.reused_tokens > 10


@pytest.mark.parametrize(
    "prompt, options, kind",
    [
        ([], {}, InvalidArgumentError),
        ([1, "a"], {}, InvalidArgumentError),
        ([{"role": "user", "content": "x"}], {}, UnsupportedError),
        ([{"role": "user", "content": "x"}], {"template": "{% for %}{{"}, FormatError),
        ([1], {"max_tokens": -1}, InvalidArgumentError),
        ([1], {"temperature": -1.0}, InvalidArgumentError),
        ([1], {"method": "nothing"}, InvalidArgumentError),
    ],
)
def test_refused_at_once(module: GGUFModule, prompt: Any, options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        module.generate(prompt, **options)


def test_an_empty_text(bpe_metadata: dict[str, Any], spm_metadata: dict[str, Any]) -> None:
    assert encode_prompt(Tokenizer.from_metadata(spm_metadata), "") == [1]
    with pytest.raises(InvalidArgumentError, match="no token to begin"):
        encode_prompt(Tokenizer.from_metadata(bpe_metadata), "")


def test_no_torch(bundled: TinyLlm, run_python: Any) -> None:
    out = run_python(
        "import sys\n"
        "from executorch_ggml import GGUFModule\n"
        f"module = GGUFModule({str(bundled.pte)!r}, {str(bundled.gguf)!r}, threads=1)\n"
        "print(len(module.generate('In the', max_tokens=4).read()) > 0, 'torch' in sys.modules)\n"
    )
    assert out.split() == ["True", "False"]
