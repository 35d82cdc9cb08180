"""Values of a call while it runs, as the library shows them to `Program.watch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from . import _abi, _arrays, _interrupt

Kind = Literal["symbol", "input", "node"]
_KINDS: tuple[Kind, ...] = ("symbol", "input", "node")


@dataclass(frozen=True)
class WatchedValue:
    """One value.

    Attributes:
        method, delegate: which payload, as in `payloads()`.
        kind: a symbol (a dynamic dimension's size), an input of the delegate, or a node's result.
        index: of the symbol, input or node in the payload.
        data: numpy array of its own. A node's has four dimensions, slowest first, and holds the row-major elements of
            the torch tensor it stands for; floats of all kinds are float32.
    """

    method: str
    delegate: int
    kind: Kind
    index: int
    data: Any


class WatchCallback:
    """The C callback while it is set. An exception of the function is kept for `check`, and ends the watch."""

    def __init__(self, function: Callable[[WatchedValue], None]) -> None:
        self._function = function
        self._raised: BaseException | None = None
        self.c: Any = _abi.ValueFn(self._call)

    @_interrupt.callback
    def _call(self, pointer: Any, _user: object) -> None:
        try:
            if self._raised is not None:
                return
            raw = pointer.contents
            data = _arrays.output(raw.tensor, None, as_torch=False, copy=True)
            method = raw.method.decode("utf-8", "replace")
            self._function(WatchedValue(method, raw.delegate, _KINDS[raw.kind], raw.index, data))
        except BaseException as raised:  # KeyboardInterrupt too: an exception cannot cross C
            self._raised = raised

    def check(self) -> None:
        """Re-raises the exception of the function."""
        if self._raised is not None:
            raise self._raised
