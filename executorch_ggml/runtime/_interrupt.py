"""Signals while the library runs.

Python runs a signal's handler between two of its own instructions, in the main thread. While that thread is inside the
library there are none. So a call asks now and then, by a callback that only lets Python look. The exception of the
handler (KeyboardInterrupt) is raised where the next Python function begins: at the entry of a callback, before any
`try` of its own. ctypes cannot pass it on and hands it to `sys.unraisablehook`. There it is taken and kept. `stop` ends
the call, and the exception is raised afterwards. An exception of a handler that runs while Python frees an object is
kept likewise.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])

stop = ctypes.c_bool(False)
"""true while an exception is kept; the library ends its calls in the main thread then"""
kept: BaseException | None = None

_callbacks: set[CodeType] = set()
_previous: Callable[[Any], Any] = sys.__unraisablehook__
_delegating = threading.local()


def callback(function: _Function) -> _Function:
    """Marks a function that the library calls: an exception at its entry is kept and not printed."""
    code = getattr(function, "__code__", None)
    assert isinstance(code, CodeType)
    _callbacks.add(code)
    return function


def keep(raised: BaseException) -> None:
    """The first is kept until it is raised; a second Ctrl-C means the same."""
    global kept
    if kept is None:
        kept = raised
    stop.value = True


def raise_kept() -> None:
    """Raises the kept exception, in the main thread. Called after every call of the library."""
    global kept
    if kept is None or threading.current_thread() is not threading.main_thread():
        return
    raised, kept = kept, None
    stop.value = False
    raise raised


def _from_callback(traceback: TracebackType | None) -> bool:
    return traceback is not None and traceback.tb_frame.f_code in _callbacks


def _from_signal(raised: BaseException | None, traceback: TracebackType | None) -> bool:
    """A handler also runs where Python ignores exceptions: in finalizers and in callbacks of the garbage collector."""
    if isinstance(raised, KeyboardInterrupt):
        return True
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()} - {None}
    following = traceback
    while following is not None:
        if following.tb_frame.f_code in handlers:
            return True
        following = following.tb_next
    return False


def hook(unraisable: Any) -> None:
    """`sys.unraisablehook` while the library may call back."""
    if _from_callback(unraisable.exc_traceback) or _from_signal(unraisable.exc_value, unraisable.exc_traceback):
        keep(unraisable.exc_value if unraisable.exc_value is not None else unraisable.exc_type())
        return
    # A later handler may have kept ours as its previous one.
    following = sys.__unraisablehook__ if getattr(_delegating, "now", False) else _previous
    _delegating.now = True
    try:
        following(unraisable)
    finally:
        _delegating.now = False


def arm() -> None:
    """Puts the hook into place, before every call: others replace it too (pytest, for every test)."""
    global _previous
    if sys.unraisablehook is not hook:
        _previous = sys.unraisablehook
        sys.unraisablehook = hook


@callback
def look(_user: object = None) -> None:
    """Called by the library so that Python runs the handlers of signals that have arrived."""
