"""Text generation as an iterator.

generation = module.generate("Once upon a time", max_tokens=100, temperature=0.8, stop=["\\n\\n"])
for piece in generation:
    print(piece, end="", flush=True)
print(generation.finish_reason, generation.stats)
"""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from executorch_ggml.errors import CancelledError, InvalidArgumentError
from executorch_ggml.runtime._callback import Progress

from .chat import Message
from .constraint import Constraint, JsonSchema, constraint_of
from .logprobs import TokenLogprob, token_logprob
from .sampling import Sampling
from .stream import StopStrings
from .token_ids import token_ids
from .token_loop import TokenLoop
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from executorch_ggml.runtime.gguf_file import GGUFFile
    from executorch_ggml.runtime.program import Program

FinishReason = Literal["stop", "length", "cancelled", "error"]
Prompt = str | Sequence[int] | Sequence[Message]
_TOKENIZER = "_tokenizer"


class Model(Protocol):
    """A program with the GGUF that has its vocabulary, such as a `GGUFModule`."""

    @property
    def program(self) -> Program: ...

    @property
    def gguf(self) -> GGUFFile: ...


class Piece(str):
    """A piece of the answer: text, with the tokens it came from (several when a character or a possible stop string
    had to be completed first)."""

    tokens: tuple[int, ...]

    def __new__(cls, text: str, tokens: tuple[int, ...] = ()) -> Piece:
        piece = super().__new__(cls, text)
        piece.tokens = tokens
        return piece


@dataclass
class Stats:
    """Times of one generation, seconds."""

    prompt_tokens: int = 0
    """of the prompt, those taken over from an earlier turn included"""
    reused_tokens: int = 0
    """of them, the ones that were in the cache already"""
    tokens: int = 0
    """chosen, the one that ended the generation included"""
    prompt_seconds: float = 0.0
    time_to_first_token: float = 0.0
    """from the start of the first `next()` to the first token, the prompt included"""
    decode_seconds: float = 0.0
    """from the first token to the last"""

    @property
    def prompt_tokens_per_second(self) -> float:
        run = self.prompt_tokens - self.reused_tokens
        return run / self.prompt_seconds if self.prompt_seconds > 0 else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Of decoding: the first token is the prompt's, so n tokens take n - 1 steps."""
        return (self.tokens - 1) / self.decode_seconds if self.decode_seconds > 0 and self.tokens > 1 else 0.0

    def __str__(self) -> str:
        cached = f" ({self.reused_tokens} of them in the cache)" if self.reused_tokens else ""
        rate = f", {self.tokens_per_second:.1f} tok/s" if self.tokens > 1 else ""  # one token takes no step of its own
        return (
            f"prompt: {self.prompt_tokens} tokens{cached}, {self.prompt_tokens_per_second:.1f} tok/s; "
            f"answer: {self.tokens} tokens{rate}; "
            f"first token after {self.time_to_first_token * 1e3:.0f} ms"
        )


class Generation(Iterator[Piece]):
    """A running generation: iterate for the pieces of text. Nothing runs before the first `next()`.

    Dropping it, or leaving the loop early, frees its memory. Errors of the model end it and come from `next()`.
    """

    def __init__(
        self,
        loop: TokenLoop,
        prompt: list[int],
        tokenizer: Tokenizer | None,
        *,
        max_tokens: int | None,
        stops: Sequence[str],
        end_ids: frozenset[int],
        room: int | None,
        progress: Progress | None,
        owns_loop: bool,
        logprobs: int | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.prompt_tokens = prompt
        self.tokens: list[int] = []
        """chosen so far, without the one that ended the generation"""
        self.text = ""
        """given out so far"""
        self.finish_reason: FinishReason | None = None
        """None while it runs; "stop": an end token, a stop string, or the end of a grammar; "length": max_tokens or a
        full cache"""
        self.logprobs: list[TokenLogprob] = []
        """of each of `tokens`, when they were asked for"""
        self.stop_token: int | None = None
        self.stop_string: str | None = None
        self.stats = Stats(prompt_tokens=len(prompt))
        self._loop, self._logprobs = loop, logprobs
        self._owns_loop, self._constraint = owns_loop, constraint
        self._end_ids = end_ids
        self._max_tokens = max_tokens
        self._room = room
        self._progress = progress
        self._cancelled = threading.Event()
        self._ending = threading.Lock()
        self._stops = StopStrings(stops)
        # A grammar is about every byte, also a space that is otherwise taken for an effect of the vocabulary.
        verbatim = constraint is not None
        self._stream = tokenizer.stream(prompt[-1], verbatim=verbatim) if tokenizer is not None else None
        self._pending: list[int] = []
        self._started = self._first = 0.0

    def __iter__(self) -> Generation:
        return self

    def __next__(self) -> Piece:
        if self.finish_reason is not None:
            raise StopIteration
        try:
            if not self._started:
                self._start()
            while self.finish_reason is None:
                piece = self._step()
                if piece is not None:
                    return piece
        except CancelledError:
            self._finish("cancelled")
        except KeyboardInterrupt:
            self._finish("cancelled")
            raise
        except BaseException:
            self._finish("error")
            raise
        raise StopIteration

    def cancel(self) -> None:
        """From any thread: iteration ends within a token (or a chunk of the prompt), `finish_reason` "cancelled"."""
        self._cancelled.set()
        with self._ending:  # a cancel that came too late must not hit the next call of the program
            if self.finish_reason is None:
                self._loop.cancel()

    def close(self) -> None:
        """Ends it now and frees its memory. Not while another thread is inside `next()`: use `cancel()` there."""
        if self.finish_reason is None:
            self._finish("cancelled")

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> str:
        """Runs to the end and returns the whole text."""
        for _ in self:
            pass
        return self.text

    # ---------------------------------------------------------------- inside

    def _start(self) -> None:
        self._started = time.perf_counter()
        if self._cancelled.is_set():
            raise CancelledError("cancelled before it began")
        # Tokens of an earlier turn in the cache need not be run again. At least one token is, for its logits.
        shared = 0
        for mine, theirs in zip(self.prompt_tokens[:-1], self._loop.tokens, strict=False):
            if mine != theirs:
                break
            shared += 1
        self._loop.rewind(shared)
        self._loop.feed(self.prompt_tokens[shared:], self._report)
        self.stats.reused_tokens = shared
        self.stats.prompt_seconds = time.perf_counter() - self._started

    def _report(self, fraction: float) -> bool:
        go_on = self._progress is None or self._progress(fraction) is not False
        return go_on and not self._cancelled.is_set()

    def _step(self) -> Piece | None:
        allowed = None
        if self._constraint is not None:
            allowed = self._constraint.allowed()
            if allowed is None:
                return self._end("stop")
        if self._max_tokens is not None and self.stats.tokens >= self._max_tokens:
            return self._end("length")
        if self._room is not None and len(self._loop.tokens) > self._room:
            return self._end("length")  # the last token chosen has no place in the cache, so none can follow it
        if self._cancelled.is_set():
            raise CancelledError("cancelled")
        token = self._loop.next(allowed)
        now = time.perf_counter()
        self.stats.tokens += 1
        if self.stats.tokens == 1:
            self._first = now
            self.stats.time_to_first_token = now - self._started
        self.stats.decode_seconds = now - self._first
        if token in self._end_ids:
            self.stop_token = token
            return self._end("stop")
        if self._constraint is not None:
            self._constraint.accept(token)
        self.tokens.append(token)
        if self._logprobs is not None:  # the logits are still those that the token was chosen from
            self.logprobs.append(token_logprob(self._loop.logits(copy=False), token, self._logprobs))
        self._pending.append(token)
        if self._stream is None:
            return self._give("")
        shown, stopped = self._stops.push(self._stream.push(token))
        if stopped:
            self.stop_string = self._stops.matched
            self._finish("stop")
        return self._give(shown) if shown else None

    def _end(self, reason: FinishReason) -> Piece | None:
        """The end of the text: held-back text comes out, unless it completes a stop string."""
        # Half a character has no place in a grammar; without it the text is still the beginning of a right one.
        rest = self._stream.flush() if self._stream is not None and self._constraint is None else ""
        shown, stopped = self._stops.push(rest)
        if stopped:
            self.stop_string = self._stops.matched
            reason = "stop"
        else:
            shown += self._stops.flush()
        self._finish(reason)
        return self._give(shown) if shown else None

    def _give(self, text: str) -> Piece:
        piece = Piece(text, tuple(self._pending))
        self._pending.clear()
        self.text += text
        return piece

    def _finish(self, reason: FinishReason) -> None:
        with self._ending:
            self.finish_reason = reason
        if self._owns_loop:
            self._loop.close()


def generate(
    target: Model | Program,
    prompt: Prompt,
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repeat_penalty: float = 1.0,
    repeat_last_n: int = 64,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    ignore_end: bool = False,
    tokenizer: Tokenizer | None = None,
    template: str = "default",
    template_options: Mapping[str, Any] | None = None,
    parse_special: bool = False,
    on_progress: Progress | None = None,
    method: str = "forward",
    max_chunk: int = 0,
    loop: TokenLoop | None = None,
    logprobs: int | None = None,
    json_schema: JsonSchema | None = None,
    grammar: str | None = None,
    regex: str | None = None,
) -> Generation:
    """Streams the continuation of a prompt.

    Errors of running the model come from the iterator: ValueRangeError when the prompt does not fit the cache,
    BusyError, and so on.

    Args:
        target: a module, or a Program (then with ``tokenizer``, unless the prompt is token ids and no text is wanted).
        prompt: text, token ids, or chat messages (``[{"role": "user", "content": "..."}]``), which go through the
            GGUF's chat template.
        max_tokens: None = until the model ends or the cache is full.
        temperature: see ``Sampling``.
        top_k: see ``Sampling``.
        top_p: see ``Sampling``.
        min_p: see ``Sampling``.
        repeat_penalty: see ``Sampling``.
        repeat_last_n: see ``Sampling``.
        seed: see ``Sampling``.
        stop: strings that end the answer and are not part of it.
        ignore_end: go on past the model's end tokens.
        tokenizer: the GGUF's own if missing.
        template: which of the GGUF's chat templates.
        template_options: variables of the chat template (``{"enable_thinking": False}``).
        parse_special: control tokens written in the prompt text become tokens.
        on_progress: called with the fraction of the prompt that is done; returning False cancels.
        method: the method to run.
        max_chunk: tokens run at once, 0 = as many as the method takes.
        loop: a TokenLoop to continue on, so that a prompt which begins like its sequence is not run again. Its sampling
            applies instead of the options here.
        logprobs: keep the log-probability of each token, and of so many of the most likely, in `Generation.logprobs`.
            They are the model's own, before a grammar.
        json_schema: the answer is JSON that satisfies this schema, a dictionary or JSON text. Keywords that cannot be
            enforced are refused. White space between values is a space, or a line break and up to 16; ``x-guidance`` in
            the schema changes that. This option and the next two need ``executorch-ggml[grammar]``.
        grammar: the answer is a text of this grammar, in llguidance's form of Lark.
        regex: the answer matches this regular expression as a whole.
            With one of the three, ``finish_reason`` "stop" without a ``stop_string`` says that the text is complete.
            A text that another reason ended is the beginning of a complete one.

    Raises:
        InvalidArgumentError: an option is wrong; of a schema or grammar, the place is named.
        LibraryError: llguidance is not installed, and a schema or grammar was given.
        UnsupportedError: no chat template, or a tokenizer of an unknown kind.
        FormatError: the GGUF's tokenizer or template is malformed.
    """
    program: Program = getattr(target, "program", None) or cast("Program", target)
    if tokenizer is None:
        file = getattr(target, "gguf", None)
        tokenizer = tokenizer_of(file) if file is not None else None
    ids = encode_prompt(tokenizer, prompt, parse_special, template, template_options)
    if max_tokens is not None:
        max_tokens = _count(max_tokens, "max_tokens")
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(text, str) for text in stops):
        raise InvalidArgumentError(f"stop is {stop!r:.60}; stop strings are text")
    if stops and tokenizer is None:
        raise InvalidArgumentError("stop strings need a tokenizer")
    constraint = constraint_of(tokenizer, json_schema, grammar, regex)
    if constraint is not None and ignore_end:
        raise InvalidArgumentError("ignore_end: a text of a grammar ends where the grammar says")
    owns_loop = loop is None
    if loop is None:
        sampling = Sampling(temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n, seed)
        loop = TokenLoop(program, sampling, method=method, max_chunk=max_chunk)
    return Generation(
        loop,
        ids,
        tokenizer,
        max_tokens=max_tokens,
        stops=stops,
        end_ids=frozenset() if ignore_end or tokenizer is None else tokenizer.end_ids,
        room=cache_size(program),
        progress=on_progress,
        owns_loop=owns_loop,
        logprobs=None if logprobs is None else _count(logprobs, "logprobs"),
        constraint=constraint,
    )


def encode_prompt(
    tokenizer: Tokenizer | None,
    prompt: Prompt,
    parse_special: bool = False,
    template: str = "default",
    template_options: Mapping[str, Any] | None = None,
) -> list[int]:
    """Token ids of any kind of prompt.

    Raises InvalidArgumentError for an empty one, a mixture, or ids that are no integers; ValueRangeError for ids that
    no vocabulary has.
    """
    if isinstance(prompt, str):
        if tokenizer is None:
            raise InvalidArgumentError("a text prompt needs a tokenizer")
        ids = tokenizer.encode(prompt, parse_special=parse_special)
    else:
        kind = "a prompt is text, a list of token ids or a list of messages"
        if isinstance(prompt, (bytes, bytearray, Mapping)):
            raise InvalidArgumentError(f"{kind}, not {type(prompt).__name__}")
        try:
            items: list[Any] = list(prompt)
        except TypeError:
            raise InvalidArgumentError(f"{kind}, not {prompt!r:.60}") from None
        if items and all(isinstance(item, Mapping) for item in items):
            if tokenizer is None:
                raise InvalidArgumentError("chat messages need a tokenizer")
            ids = tokenizer.encode_chat(items, template=template, **dict(template_options or {}))
        else:
            if any(isinstance(item, (str, Mapping)) or item is None for item in items):
                raise InvalidArgumentError(kind)
            ids = token_ids(items, "prompt")
    if not ids:
        raise InvalidArgumentError("the prompt is empty, and the model has no token to begin a text with")
    return ids


def _count(value: Any, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{name} is {value!r:.60}; it must be an integer") from None
    if number < 0:
        raise InvalidArgumentError(f"{name} is {number}; it must not be negative")
    return number


def tokenizer_of(file: GGUFFile) -> Tokenizer:
    """The tokenizer of an open GGUF, made once and kept as long as the file object lives."""
    # In the object itself: a weak dictionary forgets in a Python function, where a signal's exception would be lost.
    tokenizer = file.__dict__.get(_TOKENIZER)
    if not isinstance(tokenizer, Tokenizer):
        tokenizer = file.__dict__[_TOKENIZER] = Tokenizer.from_gguf(file)
    return tokenizer


def cache_size(program: Program) -> int | None:
    """Positions the program's caches hold, when its `.pte` says so."""
    names = {method["name"] for method in program.info()["methods"]}
    for name in ("get_max_context_len", "get_max_seq_len"):
        if name in names:
            return int(program.execute(name, [])[0])
    return None
