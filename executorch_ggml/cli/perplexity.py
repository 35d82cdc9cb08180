"""``executorch-ggml perplexity``: how well a model predicts a text."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .model import Model, is_gguf, open_text_model
from .options import AsJson, CacheType, DeviceName, Gguf, Threads, echo, print_json, read_text

_CONTEXT = 512


def perplexity(
    model: Model,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The text, UTF-8. [default: stdin]", show_default=False)
    ] = None,
    gguf: Gguf = None,
    context: Annotated[
        int | None,
        typer.Option("--ctx-size", "--ctx", "-c", min=4, help=f"Tokens of a chunk. [default: {_CONTEXT}]"),
    ] = None,
    chunks: Annotated[int | None, typer.Option(min=1, help="The first chunks only.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the result and errors.")] = False,
    threads: Threads = 0,
    cache_type: CacheType = "f16",
    device: DeviceName = "",
    as_json: AsJson = False,
) -> None:
    """Measure the perplexity of a text, as llama-perplexity does: the second half of each chunk counts."""
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.perplexity import perplexity as measure

    quiet = quiet or as_json
    text = sys.stdin.read() if file is None or str(file) == "-" else read_text(file)
    opened = open_text_model(
        model, gguf, context if is_gguf(model) else None, threads, cache_type, device, quiet=quiet,
        positions=_CONTEXT, outputs="all",
    )  # fmt: skip

    def report(number: int, count: int, value: float) -> None:
        if not quiet:
            typer.echo(f"[{number}/{count}] {value:.4f}", err=True)

    positions = opened.positions or _CONTEXT
    with opened.program:
        result = measure(
            opened.program, text, context=context or min(_CONTEXT, positions), chunks=chunks,
            tokenizer=opened.tokenizer, on_chunk=report,
        )  # fmt: skip
    if as_json:
        print_json({"model": str(model), **asdict(result)})
    else:
        echo(f"perplexity: {result}  ({result.tokens} tokens, {len(result.chunks)} chunks of {result.context})")
