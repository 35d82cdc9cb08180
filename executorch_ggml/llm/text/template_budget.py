"""What one rendering of a foreign template may use: units of work, the size of one value, nesting, and time.

Every operation of a template draws on a `Budget` before Python carries it out. A value is weighed with all that
is inside it, and a value that appears twice counts twice: texts, JSON and comparisons walk it twice, too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

MAX_RESULT = 1 << 22  # characters or elements of any one value
MAX_DEPTH = 200  # containers inside containers; C code recurses over them, and its stack has no guard
MAX_CALLS = 100  # macros inside macros
MAX_BITS = 1 << 14  # of an integer
SECONDS = 5.0

_GLANCE = 1 << 14  # units between two looks at the clock, which is a system call
_BIG = 1 << MAX_BITS
_VIEWS = (KeysView, ValuesView, ItemsView)


class Budget:
    """Units of work left in one rendering (or compilation), and the processor time it may take.

    Time is that of the calling thread: a busy machine does not make a good template fail.
    """

    def __init__(self, units: int, limit: int = MAX_RESULT, what: str = "ran") -> None:
        self.limit = limit
        self.calls = 0
        self._what = what
        self._left = units
        self._glance = units
        self._deadline = time.thread_time() + SECONDS

    def charge(self, units: int) -> None:
        self._left -= units
        if self._left < self._glance:
            self._look()

    def _look(self) -> None:
        if self._left < 0:
            raise SecurityError("the template does more work than a chat template may")
        if time.thread_time() > self._deadline:
            raise SecurityError(f"the template {self._what} for more than {SECONDS:.0f} s")
        self._glance = max(0, self._left - _GLANCE)

    def check(self, size: int) -> None:
        if size > self.limit:
            raise SecurityError(f"the template makes a value of {size} elements; the limit is {self.limit}")

    def enter(self) -> None:
        """A call begins; the caller ends it with ``calls -= 1``."""
        if self.calls >= MAX_CALLS:
            raise SecurityError(f"the template nests more than {MAX_CALLS} calls")
        self.calls += 1

    def result(self, value: Any) -> Any:
        """Charges for a value just made, and passes it on. What is inside it was charged when it was made."""
        kind = type(value)
        if kind is bool or value is None:
            self.charge(1)
        elif kind is int:
            if not -_BIG < value < _BIG:
                raise SecurityError(f"the template makes a number of more than {MAX_BITS} bits")
            self.charge(1)
        else:
            size = len(value) if isinstance(value, (str, bytes, list, tuple, dict, set, frozenset)) else 1
            self.check(size)
            self.charge(1 + size)
        return value

    def weigh(self, value: Any) -> int:
        """Charges for everything inside a value and returns it: characters and elements, as its text would have them.

        Raises SecurityError when that is more than any value may have, or nested too deeply.
        """
        weight = 1 + len(value) if type(value) is str else weight_of(value, self.limit)
        self.check(weight - 1)
        self.charge(weight)
        return weight

    def text(self, value: Any) -> str:
        """``str(value)``, weighed before it is made."""
        if not isinstance(value, str):
            self.weigh(value)
            return str(value)
        return value


def weight_of(value: Any, limit: int | None = None) -> int:
    """Characters and elements of a value with all that is inside it; stops soon after ``limit``.

    Raises SecurityError when containers nest deeper than C code can be trusted with.
    """
    total = 0
    stack: list[Iterator[Any]] = [iter((value,))]
    while stack:
        for item in stack[-1]:
            if isinstance(item, str):
                total += 1 + len(item)
            elif (inside := _inside(item)) is not None:
                total += 2
                if len(stack) > MAX_DEPTH:
                    raise SecurityError(f"a value nests deeper than {MAX_DEPTH} levels")
                stack.append(inside)
                break
            elif isinstance(item, range):
                total += _length(item)
            elif isinstance(item, int):
                total += 1 + (item.bit_length() >> 1)
            else:
                total += 1 + (len(item) if isinstance(item, (bytes, bytearray)) else 0)
            if limit is not None and total > limit:
                return total
        else:
            stack.pop()
    return total


def _inside(value: Any) -> Iterator[Any] | None:
    """What a container holds; None for what is none."""
    if isinstance(value, Mapping):
        return itertools.chain.from_iterable(value.items())
    if isinstance(value, (list, tuple, set, frozenset, *_VIEWS)):
        return iter(value)
    if isinstance(value, Namespace):
        return itertools.chain.from_iterable(object.__getattribute__(value, "_Namespace__attrs").items())
    return None


def _length(value: range) -> int:
    try:
        return len(value)
    except OverflowError:
        return 1 << 63
