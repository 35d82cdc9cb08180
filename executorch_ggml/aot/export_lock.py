"""One export at a time in a process: torch.export keeps its state in globals and fails when two threads use it."""

from __future__ import annotations

import threading

__all__ = ["EXPORTING"]

EXPORTING = threading.RLock()
"""Held around torch.export and what lowers its programs; a second thread waits."""
