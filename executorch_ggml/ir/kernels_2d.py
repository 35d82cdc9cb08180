"""numpy meaning of the image operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import Array, Ne, epilogue


def _windows(
    x: Array, k: tuple[int, int], s: tuple[int, int], p: tuple[int, int], d: tuple[int, int], fill: float
) -> Array:
    """[..., H, W] -> [..., OH, OW, KH, KW] (height, width order)."""
    lead = [(0, 0)] * (x.ndim - 2)
    padded = np.pad(x, [*lead, (p[0], p[0]), (p[1], p[1])], constant_values=fill)
    span = (d[0] * (k[0] - 1) + 1, d[1] * (k[1] - 1) + 1)
    view: Any = np.lib.stride_tricks.sliding_window_view
    windows = view(padded, span, (-2, -1))
    return np.asarray(windows[..., :: s[0], :: s[1], :: d[0], :: d[1]])


def im2col(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    kernel, x = src
    if not op.is2d:
        raise NotImplementedError("one-dimensional im2col")
    size = (kernel.shape[2], kernel.shape[3])
    w = _windows(x, size, (op.s1, op.s0), (op.p1, op.p0), (op.d1, op.d0), 0.0)
    n, c, oh, ow, kh, kw = w.shape
    return np.asarray(w.transpose(0, 2, 3, 1, 4, 5).reshape(n, oh, ow, c * kh * kw))


def conv2d_dw(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    kernel, x = src
    size = (kernel.shape[2], kernel.shape[3])
    w = _windows(x, size, (op.s1, op.s0), (op.p1, op.p0), (op.d1, op.d0), 0.0)
    return np.asarray(np.einsum("nchwkl,ckl->nchw", w, kernel[:, 0]))


def conv2d(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    kernel, x = src[:2]
    size = (kernel.shape[2], kernel.shape[3])
    w = _windows(x, size, (op.s1, op.s0), (op.p1, op.p0), (op.d1, op.d0), 0.0)
    if kernel.shape[1] == x.shape[1]:
        y = np.einsum("nchwkl,ockl->nohw", w, kernel)
    else:
        y = np.einsum("nchwkl,ckl->nchw", w, kernel[:, 0])
    return epilogue(op, y + src[2].reshape(-1, 1, 1) if len(src) == 3 else y)


def conv3d(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    kernel, x = (t.reshape(-1, op.channels, *t.shape[1:]) for t in src[:2])
    padded = np.pad(x, [(0, 0), (0, 0), (op.p2, op.p2), (op.p1, op.p1), (op.p0, op.p0)])
    span = [d * (k - 1) + 1 for d, k in zip((op.d2, op.d1, op.d0), kernel.shape[2:], strict=True)]
    view: Any = np.lib.stride_tricks.sliding_window_view
    w = view(padded, span, (-3, -2, -1))
    w = w[:, :, :: op.s2, :: op.s1, :: op.s0, :: op.d2, :: op.d1, :: op.d0]
    y = np.einsum("ncdhwjkl,ocjkl->nodhw", w, kernel)
    y = epilogue(op, y + src[2].reshape(-1, 1, 1, 1) if len(src) == 3 else y)
    return np.asarray(y.reshape(-1, *y.shape[2:]))


def pool2d(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    fill = -np.inf if op.kind == 0 else 0.0
    w = _windows(src[0], (op.k1, op.k0), (op.s1, op.s0), (op.p1, op.p0), (1, 1), fill)
    return np.asarray(w.max(axis=(-2, -1)) if op.kind == 0 else w.mean(axis=(-2, -1)))
