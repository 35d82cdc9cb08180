"""Errors of the ahead-of-time half."""

from __future__ import annotations

from executorch_ggml.errors import InternalError, UnsupportedError


class Unsupported(UnsupportedError):  # noqa: N818 - it is a verdict, not a failure
    """A node cannot be lowered faithfully; the text says why.

    Raised by lowerings and by the builder. The partitioner turns it into "stays with ExecuTorch" plus a reason for
    ``explain()``; it reaches a user only when a graph was already handed to the backend.
    """


class IrError(InternalError):
    """A broken intermediate graph: a bug in a lowering, or a damaged payload."""
