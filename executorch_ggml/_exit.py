"""The end of the interpreter while daemon threads are inside the library.

The process then destroys the library's globals under the feet of those threads. So, before that: running calls are
cancelled and waited for, and a thread that comes back from one, or wants to begin another, is held until the process is
gone. (Python itself stops daemon threads in the same way, but only when they come back for its lock.)
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

_PATIENCE = 5.0  # seconds; a call is cancelled between two operations of its graph

_ending = threading.Event()
_programs: weakref.WeakKeyDictionary[Any, Callable[[Any], bool]] = weakref.WeakKeyDictionary()


def watch(handle: Any, cancel: Callable[[Any], bool]) -> None:
    """cancel(handle) ends the running call, if any, and says whether one is still running."""
    _programs[handle] = cancel


@atexit.register
def _stop() -> None:
    _ending.set()
    deadline = time.monotonic() + _PATIENCE
    for handle, cancel in list(_programs.items()):
        while cancel(handle) and time.monotonic() < deadline:
            time.sleep(0.002)


def hold() -> None:
    """Does not return when the interpreter is ending, except to the main thread."""
    if _ending.is_set() and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
