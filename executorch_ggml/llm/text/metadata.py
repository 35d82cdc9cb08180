"""Typed, checked access to GGUF metadata values: a value of the wrong kind is a `FormatError` naming its key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from executorch_ggml.errors import FormatError


def string(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise FormatError(f"{key} is {describe(value)}; expected a string")
    return value


def integer(metadata: Mapping[str, Any], key: str) -> int | None:
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise FormatError(f"{key} is {describe(value)}; expected an integer")
    return int(value)


def flag(metadata: Mapping[str, Any], key: str) -> bool | None:
    value = metadata.get(key)
    if value is None:
        return None
    if not isinstance(value, (bool, np.bool_)):
        raise FormatError(f"{key} is {describe(value)}; expected a boolean")
    return bool(value)


def string_array(metadata: Mapping[str, Any], key: str) -> list[str] | None:
    """A fresh list, or ``None`` when the key is absent."""
    value = metadata.get(key)
    if value is None:
        return None
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise FormatError(f"{key} is {describe(value)}; expected an array of strings")
    items = list(value)
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise FormatError(f"{key}[{i}] is {describe(item)}; expected an array of strings")
    try:
        "".join(items).encode()
    except UnicodeEncodeError:
        bad = next(i for i, item in enumerate(items) if any("\ud800" <= c <= "\udfff" for c in item))
        raise FormatError(f"{key}[{bad}] is not valid UTF-8") from None
    return items


def integer_array(metadata: Mapping[str, Any], key: str, length: int, default: int) -> list[int]:
    """A fresh list of ``length`` ints; ``default`` repeated when the key is absent."""
    value = metadata.get(key)
    if value is None:
        return [default] * length
    array = _numeric(key, value, length)
    # GGUF stores INT32 here; a narrower element type is a malformed file that C readers would read beyond its end.
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 4:
        raise FormatError(f"{key} has elements of type {array.dtype}; expected int32")
    return [int(item) for item in array.tolist()]


def float_array(metadata: Mapping[str, Any], key: str, length: int) -> list[float]:
    """A fresh list of ``length`` finite floats; zeros when the key is absent."""
    value = metadata.get(key)
    if value is None:
        return [0.0] * length
    array = _numeric(key, value, length)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize < 4:
        raise FormatError(f"{key} has elements of type {array.dtype}; expected float32")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise FormatError(f"{key}[{int(np.flatnonzero(~np.isfinite(array))[0])}] is not a finite number")
    return [float(item) for item in array.tolist()]


def _numeric(key: str, value: Any, length: int) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise FormatError(f"{key} is {describe(value)}; expected an array of {length} numbers")
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError, TypeError):
        array = np.asarray([], dtype=object)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise FormatError(f"{key} is not an array of numbers")
    if len(array) != length:
        raise FormatError(f"{key} has {len(array)} elements, but tokenizer.ggml.tokens has {length}")
    return array


def describe(value: Any) -> str:
    if isinstance(value, (str, bytes)):
        return f"the string {value[:40]!r}"
    if hasattr(value, "__len__"):
        return f"an array of {len(value)} elements"
    return f"the {type(value).__name__} {value!r}"
