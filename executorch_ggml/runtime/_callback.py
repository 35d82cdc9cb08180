"""Python functions called by the library. An exception cannot cross C, so it is kept and raised after the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _abi, _exit, _interrupt
from ._load import check

Progress = Callable[[float], "bool | None"]
"""Called with a fraction 0..1; returning False (not None) cancels."""


class ProgressCallback:
    """The C callback for the duration of one call: `check(lib.f(..., cb.c, None))` becomes `cb.check(lib.f(...))`."""

    def __init__(self, function: Progress | None) -> None:
        _interrupt.arm()
        self._function = function
        self._raised: BaseException | None = None
        self.c: Any = _abi.ProgressFn(self._call) if function is not None else _abi.ProgressFn(0)

    @_interrupt.callback
    def _call(self, fraction: float, _user: object) -> bool:
        try:
            assert self._function is not None
            return not _exit.ending() and self._function(fraction) is not False
        except BaseException as raised:  # KeyboardInterrupt too; at the entry of this function it is _interrupt's
            self._raised = raised
            return False

    def check(self, status: int) -> None:
        """Re-raises the error of the function or of a signal's handler, else that of the status."""
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        check(status)
