"""Reading and writing files: inputs are regular files, outputs appear complete or not at all and destroy no weights."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from executorch_ggml.errors import FileError, GgmlError, InvalidArgumentError

__all__ = ["check_regular", "check_target", "open_regular", "replacing", "write_atomically"]

StrPath = str | os.PathLike[str]

_KINDS = (
    (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"), (stat.S_ISBLK, "a block device"),
)  # fmt: skip


def open_regular(path: StrPath) -> BinaryIO:
    """Opens a regular file for reading, without ever waiting for somebody to write to it.

    Raises FileError when it cannot be opened, or is a directory, a FIFO, a socket or a device.
    """
    check_regular(path)
    try:
        # Not blocking: it may have become a FIFO since.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise FileError(f"{os.fspath(path)}: {error.strerror or error}") from error
    try:
        _refuse_kind(path, os.fstat(handle).st_mode)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def check_regular(path: StrPath) -> None:
    """Raises FileError unless there is a regular file: for readers that open it by name themselves."""
    info = _stat(path)
    if info is None:
        raise FileError(f"{os.fspath(path)}: {os.strerror(errno.ENOENT)}")
    _refuse_kind(path, info.st_mode)


def check_target(path: StrPath, inputs: Iterable[StrPath] = (), *, kind: str = "pte") -> None:
    """Raises unless a file may be written there.

    InvalidArgumentError: an input of ours, under any name or link, or a file that holds weights. FileError: not a
    regular file.

    kind: of the new file; only a GGUF may replace a GGUF.
    """
    info = _stat(path)
    if info is None:
        return
    _refuse_kind(path, info.st_mode)
    name = os.fspath(path)
    for source in inputs:
        try:
            same = os.path.samefile(path, source)
        except OSError:
            continue
        if same:
            raise InvalidArgumentError(f"{name}: the output is the input {os.fspath(source)}; give it another name")
    if _holds_weights(path) and not (kind == "gguf" and _head(path)[:4] == b"GGUF"):
        raise InvalidArgumentError(
            f"{name}: this file holds weights and would be replaced; give the output another name"
        )


@contextlib.contextmanager
def replacing(target: StrPath, inputs: Iterable[StrPath] = (), *, kind: str = "pte") -> Iterator[Path]:
    """Gives the path of a new, empty file beside the target, which replaces it in one step when all went well.

    Where the target is a symbolic link, the file it leads to is replaced. Raises the errors of `check_target`, and
    FileError with the target's name when something cannot be written.
    """
    check_target(target, inputs, kind=kind)
    real = Path(os.path.realpath(target))
    temporary = real.with_name(f".{real.name[:200]}.{secrets.token_hex(8)}")
    made = False
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        # Made with the mode that any new file gets: the system applies the umask.
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        made = True
        yield temporary
        check_target(target, inputs, kind=kind)  # minutes may have passed
        os.replace(temporary, real)
        made = False
    except GgmlError:
        raise
    except OSError as error:
        raise FileError(f"{os.fspath(target)}: cannot be written: {error.strerror or error}") from error
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_atomically(
    target: StrPath, write: Callable[[BinaryIO], object], inputs: Iterable[StrPath] = (), *, kind: str = "pte"
) -> None:
    """Replaces `target` by the output of `write` in one step, so that no reader ever maps a partial file.

    Raises as `replacing` does.
    """
    with replacing(target, inputs, kind=kind) as temporary, temporary.open("wb") as file:
        write(file)


def _stat(path: StrPath) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileError(f"{os.fspath(path)!r}: {getattr(error, 'strerror', None) or error}") from error


def _refuse_kind(path: StrPath, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise FileError(f"{os.fspath(path)}: this is {kind}, not a regular file")


def _head(path: StrPath) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(512)
    except OSError:
        return b""  # unreadable; whether it can be replaced is for the system to say


def _holds_weights(path: StrPath) -> bool:
    """GGUF, safetensors, and the archives that torch, NeMo and others keep weights in."""
    head = _head(path)
    json_header = len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < os.path.getsize(path)
    return head[:4] in (b"GGUF", b"PK\3\4") or head[257:262] == b"ustar" or json_header
