"""An answer on the screen: streamed, ended by Ctrl-C, followed by its figures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from .options import echo_err
from .streams import model_text

if TYPE_CHECKING:
    from executorch_ggml.llm.text.generate import Generation


def stream(generation: Generation, first: str = "") -> None:
    """Prints while it is generated. Ctrl-C ends the answer, not the program."""
    typer.echo(model_text(first), nl=False)
    try:
        for piece in generation:
            typer.echo(model_text(piece), nl=False)
            sys.stdout.flush()
    except KeyboardInterrupt:
        generation.close()
    typer.echo("")


def show_figures(generation: Generation, limit: int | None) -> None:
    echo_err(f"[{generation.stats}; {ending(generation, limit)}]")


def ending(generation: Generation, limit: int | None) -> str:
    """Why the answer ended, in words."""
    if generation.finish_reason == "length":
        if limit is not None and generation.stats.tokens >= limit:
            return f"ended by the limit of {limit} tokens (-n)"
        return "ended because the context is full"
    if generation.finish_reason == "cancelled":
        return "interrupted"
    return str(generation.finish_reason)
