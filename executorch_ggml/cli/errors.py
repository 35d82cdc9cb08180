"""Failures at the command line: one clean line on stderr and an exit code, no traceback."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from executorch_ggml.errors import GgmlError
from executorch_ggml.errors.printable import printable

from .streams import discard_stdout, flush, repair_streams

FAILED, UNUSABLE, PROBLEMS, INTERRUPTED = 1, 2, 3, 130


class CleanGroup(TyperGroup):
    """Turns the error of a command into a message. With ``-vv`` the traceback is logged as well."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        repair_streams()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            flush()
            return result
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader has gone (``| head``)
            discard_stdout()
            raise typer.Exit(FAILED) from None
        except _FAILURES as error:
            _say(error)
            try:
                flush()
            except OSError:
                discard_stdout()
            raise typer.Exit(FAILED) from None


_FAILURES = (GgmlError, OSError, ImportError, MemoryError)


@contextmanager
def unusable_is_usage() -> Iterator[None]:
    """For commands that answer by the exit code: an error that prevents the answer ends with 2, not 1."""
    try:
        yield
    except BrokenPipeError:
        raise
    except _FAILURES as error:
        _say(error)
        raise typer.Exit(UNUSABLE) from None


def _say(error: BaseException) -> None:
    logging.getLogger("executorch_ggml.cli").debug("failed", exc_info=True)
    typer.echo(f"error: {_message(error)}", err=True)


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and not isinstance(error, GgmlError) and error.filename is not None:
        return printable(f"{error.filename}: {error.strerror}")
    return printable(str(error) or type(error).__name__)
