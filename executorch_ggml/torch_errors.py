"""What torch and ExecuTorch say when they give up on a program, in one line."""

from __future__ import annotations

import os
import traceback

_TORCH = f"{os.sep}torch{os.sep}"


def _raised_at(error: Exception) -> str:
    """Of an error without a message: the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no message"
    return f"{frames[-1].line} in {frames[-1].name}, {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}"


def described(error: Exception) -> str:
    """What went wrong, without the pages of advice and tracebacks that torch's messages carry."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Original traceback", 'File "', "stack trace: None"))][:4]
    place = next((line for line in reversed(lines) if line.startswith('File "') and _TORCH not in line), "")
    text = " / ".join(kept) or _raised_at(error)
    return f"torch.export or ExecuTorch cannot lower this program: {type(error).__name__}: {text}" + (
        f" [{place.removesuffix(',')}]" if place else ""
    )
