"""``executorch-ggml check``: would these weights run this graph?"""

from __future__ import annotations

from dataclasses import asdict

import typer

from .errors import PROBLEMS
from .options import AsJson, Gguf, Pte, echo, print_json


def check(pte: Pte, gguf: Gguf = None, as_json: AsJson = False) -> None:
    """Compare a graph's needs with a GGUF's contents, without loading either. Exit code 3 when they do not fit."""
    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.check import check as compare

    report = compare(pte, gguf)
    if as_json:
        print_json(asdict(report))
    else:
        echo(str(report))
    if not report:
        raise typer.Exit(PROBLEMS)
