"""The standard streams of the command line, made usable however the process was started."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys

from executorch_ggml.errors.printable import printable


def repair_streams() -> None:
    """Opens closed streams (``<&-``), and lets no character stop a stream.

    A closed descriptor is filled with the null device: else the next file that is opened gets its number, and the
    output of some library would go into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _fill(number)
            # Lives as long as the process.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):  # it may be closed, or have been read from
                stream.reconfigure(errors="surrogateescape" if mode == "r" else "backslashreplace")


def _fill(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        handle = os.open(os.devnull, os.O_RDWR)
        if handle != number:
            os.dup2(handle, number)
            os.close(handle)


def unread_input() -> bool:
    """True when text waits on stdin: a file with a content, or bytes in a pipe. Nothing is read, and nothing waits."""
    try:
        number = sys.stdin.fileno()
        kind = os.fstat(number)
        if stat.S_ISREG(kind.st_mode):
            return kind.st_size > os.lseek(number, 0, os.SEEK_CUR)
        if not stat.S_ISFIFO(kind.st_mode):
            return False
        import fcntl  # not on every system
        import termios

        return any(fcntl.ioctl(number, termios.FIONREAD, bytes(4)))
    except (OSError, ValueError, AttributeError, ImportError):
        return False


def flush() -> None:
    """Writes the buffer of stdout, so that a full disk is an error of the command, not of the interpreter's end."""
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_stdout() -> None:
    """Its reader or its disk is gone: Python would complain once more when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        handle = os.open(os.devnull, os.O_WRONLY)
        os.dup2(handle, sys.stdout.fileno())
        os.close(handle)


def model_text(text: str) -> str:
    """Text of a model for stdout: as it is for files and pipes, without control characters on a terminal."""
    return printable(text) if sys.stdout is not None and sys.stdout.isatty() else text
