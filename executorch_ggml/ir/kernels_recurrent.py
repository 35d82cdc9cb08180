"""numpy meaning of recurrent layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import Array, Ne, _sigmoid


def recurrence(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    w, gates, bias, h = src[0][0, 0], src[1][0], src[2].reshape(-1), src[3][0, 0]
    c = src[4][0, 0] if len(src) == 5 else None
    steps = gates.shape[0]
    out = np.zeros((1, ne[2], ne[1], ne[0]), dtype=h.dtype)
    for t in range(steps)[:: -1 if op.reverse else 1]:
        h, c = _step(op.cell, h @ w.T + bias, gates[t], h, c)
        out[0, t] = h
    if c is not None:
        out[0, steps] = c
    return out


def _step(cell: int, own: Array, inputs: Array, h: Array, c: Array | None) -> tuple[Array, Array | None]:
    n = h.shape[1]
    both = own + inputs
    if cell < 2:
        return np.asarray(np.tanh(both) if cell == 0 else np.maximum(both, 0)), None
    if cell == 2:
        i, f, g, o = (both[:, k * n : (k + 1) * n] for k in range(4))
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        return _sigmoid(o) * np.tanh(c), c
    r, z = _sigmoid(both[:, :n]), _sigmoid(both[:, n : 2 * n])
    fresh = np.tanh(inputs[:, 2 * n :] + r * own[:, 2 * n :])
    return fresh + z * (h - fresh), None
