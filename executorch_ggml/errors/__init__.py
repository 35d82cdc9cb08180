"""Exceptions. Every failure of this package is a `GgmlError`; most are a subclass that names the cause.

Each class also derives from the built-in exception a Python programmer would expect (`ShapeError` is a `ValueError`,
`FileError` an `OSError`), so existing handlers keep working.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .printable import printable


class GgmlError(Exception):
    """Base of all errors. `status` is the C interface's number (`etggml_status`), -1 for errors found in Python."""

    status = -1

    def __init__(self, message: str) -> None:
        message = printable(message)  # it may quote a file, and it ends on a terminal
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class LibraryError(GgmlError, ImportError):
    """The native library, or the ExecuTorch runtime it needs, cannot be loaded."""


class InvalidArgumentError(GgmlError, ValueError):
    """A bad argument or option."""

    status = 1


class FileError(GgmlError, OSError):
    """A file that cannot be opened, read or mapped."""

    status = 2


class FormatError(GgmlError, ValueError):
    """A malformed file or delegate payload."""

    status = 3


class BindError(GgmlError, LookupError):
    """Weights that do not fit the graph: missing, mis-shaped, mis-typed, of another model."""

    status = 4


class UnsupportedError(GgmlError, NotImplementedError):
    """Well-formed, but beyond this build: an operator, a type, a format version."""

    status = 5


class ShapeError(GgmlError, ValueError):
    """The number of inputs, or the rank or a dimension of one, is outside the range of the graph."""

    status = 6


class DtypeError(GgmlError, TypeError):
    """The dtype of an input is not that of the graph."""

    status = 7


class ValueRangeError(GgmlError, ValueError):
    """A value of an input is out of range: a token id, a position beyond the cache."""

    status = 8


class DeviceError(GgmlError, RuntimeError):
    """A device that is missing, unusable or lost."""

    status = 9


class BusyError(GgmlError, RuntimeError):
    """Another thread is inside this program. Nothing was changed; wait for it, or use a program per thread."""

    status = 10


class OutOfMemoryError(GgmlError, MemoryError):
    """Memory (of the host or a device) ran out."""

    status = 11


class CancelledError(GgmlError, RuntimeError):
    """The call was ended by `cancel()` or by a progress callback."""

    status = 12


class InternalError(GgmlError, RuntimeError):
    """A defect of this package. Please report it with the message."""

    status = 13


class AudioError(FormatError):
    """Audio that cannot be transcribed: a malformed or cut-off file, no samples, samples that are no numbers."""

    status = -1


class UndelegatedError(GgmlError, NotImplementedError):
    """Operators that a strict export wanted on ggml stay with ExecuTorch.

    Attributes:
        nodes: the report of ``explain`` about them (``executorch_ggml.explain.NodeReport``), in the order of execution.
    """

    def __init__(self, message: str, nodes: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.nodes = tuple(nodes)


class LoweringError(UnsupportedError):
    """A program that ExecuTorch's or our own lowering gives up on; the cause is chained, the text says where it was."""

    status = -1


class UnloadableError(UnsupportedError):
    """A program that could be lowered, but not be loaded or not be called as it was exported.

    Attributes:
        findings: one for each fault (``executorch_ggml.loadable.Finding``), in the order of execution.
    """

    status = -1

    def __init__(self, message: str, findings: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class MismatchError(GgmlError, ArithmeticError):
    """The lowered program is another one than it should be.

    Its results differ from eager's (``to_edge_rewrite_and_lower(..., verify=...)``), or it computes with other numbers
    than the GGUF states (``export_with_gguf``).

    Attributes:
        report: the comparison, value by value (``executorch_ggml.diff.DiffReport``); None when it could not be made.
    """

    def __init__(self, message: str, report: Any = None) -> None:
        super().__init__(message)
        self.report = report


BY_STATUS: dict[int, type[GgmlError]] = {
    cls.status: cls
    for cls in (
        InvalidArgumentError,
        FileError,
        FormatError,
        BindError,
        UnsupportedError,
        ShapeError,
        DtypeError,
        ValueRangeError,
        DeviceError,
        BusyError,
        OutOfMemoryError,
        CancelledError,
        InternalError,
    )
}


def error_for(status: int, message: str) -> GgmlError:
    """The exception for a status other than 0 and its message."""
    cls = BY_STATUS.get(status, InternalError)
    return cls(message or f"the library failed with status {status} and no message")
