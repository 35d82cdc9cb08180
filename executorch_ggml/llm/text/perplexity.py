"""Perplexity of a text, as llama-perplexity computes it.

The text is cut into chunks of equal length. In each, the first half is context and the second half is counted. Where
the vocabulary begins texts with a token of its own, that token takes the place of the first one of each chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError, UnsupportedError, ValueRangeError

from .generate import cache_size, tokenizer_of
from .token_ids import token_ids

if TYPE_CHECKING:
    from executorch_ggml.runtime.program import Program

    from .generate import Model
    from .tokenizer import Tokenizer

__all__ = ["Perplexity", "perplexity"]

_LOGITS = 1 << 24  # in one call: 64 MB


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood (natural) of the counted tokens."""

    value: float
    error: float
    """standard error of `value`"""
    tokens: int
    """counted"""
    context: int
    """tokens of a chunk"""
    chunks: tuple[float, ...]
    """the value after each chunk, of all tokens so far"""

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.5f}"


def perplexity(
    target: Model | Program,
    text: str | Sequence[int],
    *,
    context: int = 512,
    chunks: int | None = None,
    tokenizer: Tokenizer | None = None,
    on_chunk: Callable[[int, int, float], None] | None = None,
) -> Perplexity:
    """The perplexity of a text.

    Args:
        target: a `GGUFModule`, or a Program, exported with full_logits.
        text: text or token ids, two chunks of it at least.
        context: tokens of a chunk.
        chunks: the first ones only.
        tokenizer: the GGUF's own if missing.
        on_chunk: called after each chunk with its number from 1, the number of chunks, and the value so far.

    Raises:
        UnsupportedError: the program gives logits of the last token only.
        InvalidArgumentError: a wrong option; a text that is too short.
        ValueRangeError: more context than the program has positions; logits that are no numbers.
    """
    program: Program = getattr(target, "program", None) or cast("Program", target)
    file = getattr(target, "gguf", None)
    if tokenizer is None and file is not None:
        tokenizer = tokenizer_of(file)
    if isinstance(context, bool) or not isinstance(context, int) or context < 4:
        raise InvalidArgumentError(f"context is {context!r:.40}; it must be an integer, 4 or more")
    if chunks is not None and chunks < 1:
        raise InvalidArgumentError(f"chunks is {chunks}; it must be 1 or more")
    room = cache_size(program)
    if room is not None and context > room:
        raise ValueRangeError(f"chunks of {context} tokens do not fit the {room} positions of the program")
    vocabulary = _vocabulary(program)
    rows = _chunks(text, context, chunks, tokenizer)
    sums, values, counted = np.zeros(2), [], context - 1 - context // 2
    for number, row in enumerate(rows, 1):
        losses = _losses(program, row, vocabulary)[context // 2 :]
        sums += losses.sum(), (losses**2).sum()
        values.append(math.exp(sums[0] / (number * counted)))
        if on_chunk is not None:
            on_chunk(number, len(rows), values[-1])
    count = len(rows) * counted
    mean, square = sums / count
    error = math.sqrt(max(0.0, square - mean**2) / (count - 1)) * values[-1] if count > 1 else math.inf
    return Perplexity(values[-1], error, count, context, tuple(values))


def _chunks(
    text: str | Sequence[int], context: int, chunks: int | None, tokenizer: Tokenizer | None
) -> npt.NDArray[np.int64]:
    """Token ids [chunks, context]."""
    if isinstance(text, str):
        if tokenizer is None:
            raise InvalidArgumentError("a text needs a tokenizer")
        ids = tokenizer.encode(text)
    else:
        ids = token_ids(text, "text")
    if len(ids) < 2 * context:
        raise InvalidArgumentError(
            f"the text has {len(ids)} tokens; two chunks of {context} are the least: take a longer text or less context"
        )
    count = min(len(ids) // context, chunks or len(ids))
    rows = np.asarray(ids[: count * context], np.int64).reshape(count, context)
    if tokenizer is not None and tokenizer.vocabulary.add_bos and tokenizer.bos_id is not None:
        rows[:, 0] = tokenizer.bos_id
    return rows


def _vocabulary(program: Program) -> int:
    """Logits for each token. Raises UnsupportedError for a program that gives those of the last one only."""
    methods: list[dict[str, Any]] = program.info()["methods"]
    method = next((m for m in methods if m["name"] == "forward"), None)
    inputs, outputs = (
        [value.get("shape", []) for value in (method[side] if method else [])] for side in ("inputs", "outputs")
    )
    fits = [len(shape) for shape in inputs] == [2, 1] and [len(shape) for shape in outputs] == [3]
    if not fits or outputs[0][1] != inputs[0][1]:
        raise UnsupportedError(
            f"{program}: perplexity needs (tokens [1, n], positions [n]) -> logits [1, n, vocabulary], those of every "
            f"token; forward gives {outputs}. Export with --full-logits (GGUFExportConfig(full_logits=True))"
        )
    return int(outputs[0][2])


def _losses(program: Program, row: npt.NDArray[np.int64], vocabulary: int) -> npt.NDArray[np.float64]:
    """Negative log-likelihoods [context - 1] of row[1:]."""
    if any(state["kind"] != "kv_cache" for state in program.info()["states"]):
        program.reset()  # a summary of the sequence does not go back by itself
    step = max(1, _LOGITS // vocabulary)
    found: list[npt.NDArray[np.float64]] = []
    for at in range(0, len(row) - 1, step):
        ids, targets = row[at : at + step], row[at + 1 : at + 1 + step]
        (logits,) = program.execute("forward", [ids[None], np.arange(at, at + len(ids))])
        found.append(_loss(logits[0, : len(targets)], targets))
    return np.concatenate(found)


def _loss(logits: Any, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    scores = np.asarray(logits, np.float64)
    scores = scores - scores.max(-1, keepdims=True)
    if np.isnan(scores).any():
        raise ValueRangeError("the model's logits are no numbers (NaN or infinity)")
    losses: npt.NDArray[np.float64] = np.log(np.exp(scores).sum(-1)) - scores[np.arange(len(targets)), targets]
    return losses
