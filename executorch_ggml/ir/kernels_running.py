"""numpy meaning of running operations and of the search in rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import Array, Ne


def scan(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x = src[0].astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        if op.kind == 0:
            return np.asarray(np.multiply.accumulate(x, axis=-1)).astype(np.float32)  # infinite where F32 is
        return np.asarray(np.logaddexp.accumulate(x, axis=-1))


def running_max(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x = src[0]
    places = np.zeros(x.shape, np.int64)
    best, at = x[..., 0], places[..., 0]
    for i in range(1, x.shape[-1]):
        new = np.isnan(x[..., i]) | (x[..., i] <= best if op.smallest else x[..., i] >= best)
        best, at = np.where(new, x[..., i], best), np.where(new, i, at)
        places[..., i] = at
    return places


def search(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    rows, numbers = src
    found = np.zeros(numbers.shape, np.float64)
    for at in np.ndindex(*numbers.shape[:-1]):
        row = rows[at]
        if (np.diff(row) < 0).any() or np.isnan(row).any():
            found[at] = [_halving(row, x, op.right) for x in numbers[at]]
        else:
            found[at] = np.searchsorted(row, numbers[at], side="right" if op.right else "left")
    return found


def _halving(row: Array, x: float, right: bool) -> int:
    low, high = 0, len(row)
    while low < high:
        middle = (low + high) // 2
        if row[middle] > x or (row[middle] == x and not right):
            high = middle
        else:
            low = middle + 1
    return low
