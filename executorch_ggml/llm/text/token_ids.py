"""Token ids as callers give them, checked: a number that is cut or rounded on the way would be another token."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

from executorch_ggml.errors import InvalidArgumentError, ValueRangeError

__all__ = ["token_id", "token_ids"]


def token_id(value: Any, where: str, least: int = 0) -> int:
    """An integer of any library (Python, numpy, torch) as int.

    Raises InvalidArgumentError for a value that is no integer, ValueRangeError for one that no vocabulary has.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # torch raises the last two for tensors that are no single integer
        raise InvalidArgumentError(f"{where} is {value!r:.60}; token ids are integers") from None
    if not least <= number < 1 << 31:
        raise ValueRangeError(f"{where} is {number}; no vocabulary has such a token id")
    return number


def token_ids(values: Iterable[Any], what: str, least: int = 0) -> list[int]:
    """A list of them; `what` names it in messages. least: the smallest that is taken. Raises as `token_id` does."""
    if isinstance(values, (str, bytes, bytearray)):
        raise InvalidArgumentError(f"{what} is {type(values).__name__}; token ids are integers")
    try:
        items = list(values)
    except TypeError:
        raise InvalidArgumentError(f"{what} is {values!r:.60}, not a sequence of token ids") from None
    return [token_id(value, f"{what}[{i}]", least) for i, value in enumerate(items)]
