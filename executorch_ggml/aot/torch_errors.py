"""Errors of torch and ExecuTorch about a program that they cannot finish, in one line."""

from __future__ import annotations

import os

_TORCH = f"{os.sep}torch{os.sep}"


def described(error: Exception) -> str:
    """The fault, without the pages of advice and tracebacks in torch's messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Original traceback", 'File "', "stack trace: None"))][:4]
    place = next((line for line in reversed(lines) if line.startswith('File "') and _TORCH not in line), "")
    text = " / ".join(kept) or "no message"
    return f"torch.export or ExecuTorch cannot lower this program: {type(error).__name__}: {text}" + (
        f" [{place.removesuffix(',')}]" if place else ""
    )
