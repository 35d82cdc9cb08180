"""The end of the interpreter while daemon threads are inside the library.

The process then destroys the library's globals under the feet of those threads. So, before that: running calls are
cancelled and waited for, and a thread that comes back from one, or wants to begin another, is held until the process is
gone. (Python itself stops daemon threads in the same way, but only when they come back for its lock.)
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

_PATIENCE = 5.0  # seconds; a call on the CPU ends in some milliseconds, on a GPU with its graph

_ending = threading.Event()
_calls: set[int] = set()  # of threads that are in calls which cannot be cancelled by a handle
# No WeakKeyDictionary: it forgets a key in a Python function, and the exception of a signal that arrives there is lost.
_programs: dict[int, tuple[weakref.ref[Any], Callable[[Any], bool]]] = {}


def watch(handle: Any, cancel: Callable[[Any], bool]) -> None:
    """cancel(handle) ends the running call, if any, and says whether one is still running."""
    for number in [number for number, (known, _) in list(_programs.items()) if known() is None]:
        _programs.pop(number, None)
    _programs[id(handle)] = (weakref.ref(handle), cancel)


@contextlib.contextmanager
def calling() -> Iterator[None]:
    """Around a call of the library that has no handle yet, or none at all, and calls Python back: it is waited for.

    Python would end its thread in the callback, and so by unwinding the library.
    """
    hold()
    thread = threading.get_ident()
    outermost = thread not in _calls
    _calls.add(thread)
    try:
        yield
    finally:
        if outermost:
            _calls.discard(thread)


def ending() -> bool:
    """Whether the interpreter ends; callbacks of threads other than the main one cancel then."""
    return _ending.is_set() and threading.current_thread() is not threading.main_thread()


def _forget() -> None:
    """In a forked child: threads other than this one stayed in the parent."""
    mine = threading.get_ident()
    _calls.intersection_update({mine})


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _stop() -> None:
    _ending.set()
    deadline = time.monotonic() + _PATIENCE
    mine = threading.get_ident()
    while _calls - {mine} and time.monotonic() < deadline:
        time.sleep(0.002)
    for known, cancel in list(_programs.values()):
        handle = known()
        while handle is not None and cancel(handle) and time.monotonic() < deadline:
            time.sleep(0.002)


def hold() -> None:
    """Does not return when the interpreter is ending, except to the main thread."""
    if _ending.is_set() and threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
