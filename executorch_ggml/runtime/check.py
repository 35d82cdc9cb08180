"""Does this GGUF fit this `.pte`? Every problem at once, found without loading any weights."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from executorch_ggml.errors import BindError
from executorch_ggml.errors.printable import printable

from . import _load
from .gguf_file import GGUFFile


@dataclass(frozen=True)
class Problem:
    """One thing that stops the weights from running the graph."""

    kind: str
    """missing, shape, type or metadata"""
    key: str
    """name of the tensor or metadata entry"""
    expected: str
    found: str
    nearest: tuple[str, ...]
    """names in the file that resemble a missing one"""
    message: str


@dataclass(frozen=True)
class Report:
    """The result of `check`. Truthy when there is no problem; `str()` lists each in the words of loading."""

    pte: str
    gguf: str | None
    ok: bool
    tensors: int
    """weights the graph needs"""
    bytes: int
    """of those weights, as stored"""
    problems: tuple[Problem, ...]
    extra: tuple[str, ...]
    """tensors in the file that the graph does not use; harmless"""

    def __bool__(self) -> bool:
        return self.ok

    def raise_if_bad(self) -> None:
        """Raises BindError with all of them unless `ok`."""
        if not self.ok:
            raise BindError(str(self))

    def __str__(self) -> str:
        weights = self.gguf or "its own weights"
        verdict = "fits" if self.ok else f"does not fit: {len(self.problems)} problem{'s'[: len(self.problems) != 1]}"
        lines = [f"{self.pte} with {weights}: {verdict} ({self.tensors} tensors, {self.bytes / 1e6:.1f} MB)"]
        lines += [f"  {p.kind}: {p.message}{_nearest(p)}" for p in self.problems]
        if self.extra:
            shown = ", ".join(self.extra[:8])
            more = f" and {len(self.extra) - 8} more" if len(self.extra) > 8 else ""
            lines.append(f"not used by the graph: {shown}{more}")
        return "\n".join(printable(line, one_line=True) for line in lines)


def _nearest(problem: Problem) -> str:
    return f"; nearest: {', '.join(problem.nearest)}" if problem.nearest else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, Iterable):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    return str(value)


def check(pte: str | os.PathLike[str], gguf: str | os.PathLike[str] | GGUFFile | None = None) -> Report:
    """Compares the graph's expectations (tensors, shapes, types, metadata) with the file.

    Returns a Report, also when they do not fit. Raises FileError, FormatError or UnsupportedError when one of the two
    files cannot be read at all.
    """
    file = gguf if gguf is None or isinstance(gguf, GGUFFile) else GGUFFile(gguf)
    handle = file.handle if file is not None else None  # held during the call
    raw = _load.take_json("etggml_program_check", _load.path_bytes(pte), handle.pointer if handle is not None else None)
    return Report(
        pte=os.fspath(pte),
        gguf=file.path if file is not None else None,
        ok=bool(raw["ok"]),
        tensors=int(raw.get("tensors", 0)),
        bytes=int(raw.get("bytes", 0)),
        problems=tuple(
            Problem(
                kind=str(entry.get("kind", "")),
                key=str(entry.get("key", "")),
                expected=_text(entry.get("expected")),
                found=_text(entry.get("found")),
                nearest=tuple(entry.get("nearest") or ()),
                message=str(entry.get("message", "")),
            )
            for entry in raw.get("problems", ())
        ),
        extra=tuple(raw.get("extra", ())),
    )
