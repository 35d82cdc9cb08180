"""Options and helpers that several commands share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from executorch_ggml.errors import FormatError
from executorch_ggml.errors.files import open_regular
from executorch_ggml.errors.printable import json_safe, printable

if TYPE_CHECKING:
    from executorch_ggml.runtime._callback import Progress
    from executorch_ggml.runtime.program import Program

Pte = Annotated[Path, typer.Argument(help="The exported graph (.pte).", metavar="MODEL.pte", show_default=False)]
Gguf = Annotated[
    Path | None,
    typer.Option("--gguf", "-g", help="The weights, when the .pte does not hold them.", show_default=False),
]
Threads = Annotated[int, typer.Option("--threads", "-t", min=0, help="Compute threads; 0 = physical cores available.")]
CacheType = Annotated[str, typer.Option("--cache-type", help="Type of the KV cache: f16, f32, q8_0, ...")]
DeviceName = Annotated[str, typer.Option("--device", "-d", help="Where to compute; `devices` lists what there is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def read_text(path: Path) -> str:
    """A UTF-8 file. Raises FileError, or FormatError for other bytes."""
    with open_regular(path) as file:
        data = file.read()
    try:
        text: str = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: this is no UTF-8 text: {error}") from None
    return text


def print_json(value: Any) -> None:
    typer.echo(json_safe(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def echo(text: str) -> None:
    """Text that may quote a file."""
    typer.echo(printable(text))


def echo_err(text: str) -> None:
    """A remark for the person at the terminal."""
    typer.echo(printable(text), err=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """A bar on stderr while something takes time; nothing when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(printable(what, one_line=True), total=1.0)

        def report(fraction: float) -> None:
            bar.update(task, completed=fraction)

        yield report


def load_program(
    pte: Path, gguf: Path | None, threads: int, cache_type: str, device: str, methods: Sequence[str] | None = None,
    profile: bool | None = None,
) -> Program:  # fmt: skip
    """Loads with a progress bar. methods: those to prepare now; `forward` if missing."""
    # Late: --help and other commands start without it.
    from executorch_ggml.runtime.program import Program

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads > cores:
        echo_err(f"[{threads} threads on {cores} cores: this is slower than {cores}]")
    with progress_bar(f"loading {(gguf or pte).name}") as progress:
        return Program(
            pte,
            gguf,
            threads=threads,
            cache_type=cache_type,
            device=device or None,
            methods=["forward"] if methods is None else methods,
            profile=profile,
            progress=progress,
        )


def size(count: float) -> str:
    """Bytes for people, in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError
