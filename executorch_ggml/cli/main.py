"""``executorch-ggml``: the application the commands are registered on.

Exit codes: 0 done, 1 an error (one line on stderr says which), 2 wrong usage, 3 ``check`` found problems, 130
interrupted. ``diff`` and ``explain --strict`` answer with theirs: 1 is no, 2 is that there was nothing to judge.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from executorch_ggml import __version__
from executorch_ggml.errors.printable import printable

from .bench import bench
from .chat import chat
from .check import check
from .devices import devices
from .diff import diff
from .errors import CleanGroup
from .explain import explain
from .export import export
from .inspect import inspect
from .perplexity import perplexity
from .run import run
from .transcribe import transcribe
from .verbose import Verbose, set_verbosity, with_verbose

app = typer.Typer(
    name="executorch-ggml",
    cls=CleanGroup,
    help="Your PyTorch graph, anyone's GGUF, ggml's kernels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run, chat, export, transcribe, bench, perplexity, check, inspect, explain, diff, devices):
    app.command()(with_verbose(command))


class _Printable(logging.Formatter):
    """Log lines may quote files."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _version(show: bool) -> None:
    if show:
        typer.echo(f"executorch-ggml {__version__}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Verbose = 0,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    set_verbosity(verbose)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
