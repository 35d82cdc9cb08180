"""GGUF as a format: header, summary, block types, writer. ``GGUFFile``, which has the library read one, is here too."""

from __future__ import annotations

from typing import Any

__all__ = ["GGUFFile"]


def __getattr__(name: str) -> Any:
    if name != "GGUFFile":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from executorch_ggml.runtime.gguf_file import GGUFFile  # not for those who only read headers

    return GGUFFile
