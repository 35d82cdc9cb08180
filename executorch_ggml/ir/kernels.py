"""numpy meaning of each compute node, under the names of the schema's tables. Arrays are 4-D, slowest first."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import IrError
from .special_functions import digamma, erfinv, lgamma

Array = npt.NDArray[Any]
Ne = tuple[int, int, int, int]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))))


def _gelu_erf(x: Array) -> Array:
    return np.asarray(0.5 * x * (1.0 + _erf(x / math.sqrt(2.0)).astype(x.dtype)))


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


def _hard_sigmoid(x: Array) -> Array:
    return np.asarray(np.clip((x + 3.0) / 6.0, 0.0, 1.0))


def _round_away(x: Array) -> Array:
    return np.asarray(np.trunc(x + np.copysign(0.5, x)))


_UNARY = [
    np.abs,
    np.sign,
    np.negative,
    lambda x: (x > 0).astype(x.dtype),
    np.tanh,
    lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    _relu,
    _sigmoid,
    _gelu_tanh,
    lambda x: x * _sigmoid(1.702 * x),
    _silu,
    lambda x: x * _hard_sigmoid(x),
    _hard_sigmoid,
    np.exp,
    _gelu_erf,
    lambda x: np.where(x > 20, x, np.log1p(np.exp(np.minimum(x, 20)))),
    np.expm1,
    np.floor,
    np.ceil,
    _round_away,
    np.trunc,
    np.square,
    np.sqrt,
    np.log,
    np.sin,
    np.cos,
    _gelu_tanh,
    None,
    None,
    lambda x: x - np.tanh(x),
    erfinv,
    lgamma,
    digamma,
]


def unary(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if op.kind == 27:
            return np.asarray(np.power(src[0], op.parameter))
        if op.kind == 28:
            return np.asarray(np.power(op.parameter, src[0]))
        return np.asarray(_UNARY[op.kind](src[0]))


def leaky_relu(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(np.where(src[0] > 0, src[0], src[0] * op.slope))


def clamp(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    limited = np.minimum(np.maximum(src[0], op.min), op.max)
    return np.asarray(np.where(np.isnan(src[0]), op.max, limited))  # ggml takes a NaN to the upper limit


def scale(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0] * op.scale + op.bias)


def _repeat_to(x: Array, shape: tuple[int, ...]) -> Array:
    counts = []
    for have, want in zip(x.shape, shape, strict=True):
        if have == 0 or want % have:
            raise IrError(f"{x.shape} does not repeat to {shape}")
        counts.append(want // have)
    return np.tile(x, counts)


def binary(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    a, b = src[0], _repeat_to(src[1], src[0].shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray([np.add, np.subtract, np.multiply, np.divide][op.kind](a, b))


def glu(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    if len(src) == 2:
        gate, up = src
    else:
        half = src[0].shape[-1] // 2
        gate, up = src[0][..., :half], src[0][..., half:]
    if op.swapped:
        gate, up = up, gate
    functions = [_relu, _gelu_tanh, _silu, None, _gelu_erf, lambda x: x * _sigmoid(1.702 * x)]
    function = functions[op.kind]
    if function is None:
        raise IrError("swiglu_oai")
    if op.kind == 0:  # ggml tests the gate and does not multiply by zero
        return np.where(gate > 0, function(gate) * up, 0)
    return np.asarray(function(gate) * up)


def mul_mat(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    w, x = src[:2]
    if x.shape[0] % w.shape[0] or x.shape[1] % w.shape[1]:
        raise IrError(f"batches of {w.shape} do not divide those of {x.shape}")
    # ggml broadcasts batch i of x onto batch i // ratio of w.
    w = np.repeat(np.repeat(w, x.shape[0] // w.shape[0], axis=0), x.shape[1] // w.shape[1], axis=1)
    y = x @ np.swapaxes(w, -1, -2)
    return epilogue(op, y + src[2] if len(src) == 3 else y)


_ACTIVATIONS = [lambda x: x, _gelu_erf, _gelu_tanh, _silu, _sigmoid, lambda x: x * _hard_sigmoid(x), _hard_sigmoid]


def epilogue(op: Any, y: Array) -> Array:
    """The epilogue of a product."""
    if op.then is None:
        return np.asarray(y)
    return np.asarray(np.clip(_ACTIVATIONS[op.then.activation](y), op.then.min, op.then.max))


def mul_mat_id(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    experts, x, ids = src[0][0], src[1][0], src[2][0, 0]
    out = np.zeros((1, ne[2], ne[1], ne[0]), dtype=x.dtype)
    for t in range(ids.shape[0]):
        for u in range(ids.shape[1]):
            out[0, t, u] = experts[int(ids[t, u])] @ x[t, u % x.shape[1]]
    return out


def solve_tri(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    a, b = src
    x = np.zeros(b.shape, dtype=b.dtype)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for i in range(a.shape[-1]):
            known = (a[..., i : i + 1, :i] @ x[..., :i, :])[..., 0, :]
            x[..., i, :] = (b[..., i, :] - known) / a[..., i, i, None]
    return x


def norm(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x = src[0] - src[0].mean(axis=-1, keepdims=True)
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + op.eps))


def rms_norm(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0] / np.sqrt((src[0] * src[0]).mean(axis=-1, keepdims=True) + op.eps))


def group_norm(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    n, c, h, w = src[0].shape
    x = src[0].reshape(n, op.groups, -1)
    x = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + op.eps)).reshape(n, c, h, w)


def l2_norm(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0] / np.maximum(np.sqrt((src[0] ** 2).sum(axis=-1, keepdims=True)), op.eps))


def _softmax(x: Array, empty_is_zero: bool = False) -> Array:
    with np.errstate(invalid="ignore"):
        top = x.max(axis=-1, keepdims=True)
        empty = (top == -np.inf) & empty_is_zero
        e = np.exp(x - np.where(empty, 0.0, top))
        return np.asarray(e / np.where(empty, 1.0, e.sum(axis=-1, keepdims=True)))


def soft_max(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x = src[0] * op.scale
    if len(src) > 1:
        mask = src[1][:, :, : x.shape[2], :]
        x = x + np.tile(mask, (x.shape[0] // mask.shape[0], x.shape[1] // mask.shape[1], 1, 1))
    return _softmax(x, op.emptyIsZero)


def rope(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x, positions = src[0], src[1].reshape(-1).astype(np.float64)
    half = op.nDims // 2
    angle = positions[:, None] * float(op.freqBase) ** (-2.0 * np.arange(half) / op.nDims)
    if len(src) > 2:
        angle = angle / src[2].reshape(-1)[:half]
    magnitude = op.attnFactor
    theta = angle * op.freqScale
    if op.extFactor:
        low, high = _yarn_range(op)
        ramp = 1.0 - np.clip((np.arange(half) - low) / max(0.001, high - low), 0.0, 1.0)
        mix = ramp * op.extFactor
        theta = theta * (1 - mix) + angle * mix
        magnitude *= 1.0 + 0.1 * math.log(1.0 / op.freqScale)
    cos, sin = (np.cos(theta) * magnitude)[:, None, :], (np.sin(theta) * magnitude)[:, None, :]
    out = np.array(x)
    if op.mode == 0:
        first, second = slice(0, op.nDims, 2), slice(1, op.nDims, 2)
    else:
        first, second = slice(0, half), slice(half, op.nDims)
    a, b = x[..., first], x[..., second]
    out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
    return out


def _yarn_range(op: Any) -> tuple[float, float]:
    def correction(rotations: float) -> float:
        turns = op.nCtxOrig / (rotations * 2 * math.pi)
        return float(op.nDims * math.log(turns) / (2 * math.log(op.freqBase)))

    return max(0.0, math.floor(correction(op.betaFast))), min(op.nDims - 1.0, math.ceil(correction(op.betaSlow)))


def flash_attn(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    q, k, v = src[:3]
    if op.maxBias or len(src) > 4:
        raise IrError("ALiBi and attention sinks")
    ratio = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, ratio, axis=1), np.repeat(v, ratio, axis=1)
    scores = (q @ np.swapaxes(k, -1, -2)) * op.scale
    if op.softcap:
        scores = op.softcap * np.tanh(scores / op.softcap)
    if len(src) > 3:
        mask = src[3]
        scores = scores + np.tile(mask, (q.shape[0] // mask.shape[0], q.shape[1] // mask.shape[1], 1, 1))
    return np.asarray(np.swapaxes(_softmax(scores, op.hidden != 0) @ v, 1, 2))


def causal_mask(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    positions = src[0].reshape(-1)[:, None]
    keys = np.arange(ne[0])[None, :]
    seen = keys <= positions
    if op.window:
        seen &= positions - keys < op.window
    return np.where(seen, 0.0, -np.inf)[None, None]


def get_rows(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    table, ids = src[0], src[1].astype(np.int64)
    if ids.size and (ids.min() < 0 or ids.max() >= table.shape[2]):
        raise IrError(f"row index outside [0, {table.shape[2]})")
    # ids [1, b2, b1, n] index rows of table [b2, b1, rows, k].
    out = np.zeros((ids.shape[1], ids.shape[2], ids.shape[3], table.shape[3]), dtype=table.dtype)
    for i in range(ids.shape[1]):
        for j in range(ids.shape[2]):
            out[i, j] = table[i, j][ids[0, i, j]]
    return out


def cast(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return src[0]


def cont(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.ascontiguousarray(src[0])


def repeat(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return _repeat_to(src[0], ne[::-1])


def concat(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.concatenate(src, axis=3 - op.dim)


def pad(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    before, after = [int(v) for v in op.before], [int(v) for v in op.after]
    return np.pad(src[0], list(zip(before, after, strict=True))[::-1])


def fill(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.full(ne[::-1], op.value)


def sum(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0].sum()).reshape(1, 1, 1, 1)


def sum_rows(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0].sum(axis=-1, keepdims=True))


def mean(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(src[0].mean(axis=-1, keepdims=True))


def argmax(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    if src[0].shape[:2] != (1, 1):
        raise IrError("argmax of more than a matrix")
    # ggml returns the last of several equal maxima.
    back = np.asarray(src[0][..., ::-1].argmax(axis=-1)).reshape(1, 1, 1, -1)
    return np.asarray(src[0].shape[-1] - 1 - back)


def _order(x: Array, descending: bool) -> Array:
    """As torch sorts: stable, NaN beyond infinity."""
    missing = np.isnan(x)
    key = np.where(missing, np.inf, x)
    return np.asarray(np.lexsort((~missing if descending else missing, -key if descending else key), axis=-1))


def argsort(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return _order(src[0], op.descending)


def top_k(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return _order(src[0], not op.smallest)[..., : op.k]


def cumsum(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    return np.asarray(np.cumsum(src[0], axis=-1, dtype=np.float64))


def scatter(it: Any, op: Any, src: list[Array], ne: Ne) -> Array:
    x, values, ids = src[0][0].copy(), src[1][0], src[2][0]
    index = np.broadcast_to(ids, values.shape)
    if index.size and (index.min() < 0 or index.max() >= x.shape[1]):
        raise IrError(f"row number outside [0, {x.shape[1]})")
    functions = [lambda old, new: new, np.add, np.maximum, np.minimum, np.multiply]
    tables, columns = np.ogrid[: x.shape[0], : x.shape[2]]
    for i in range(values.shape[1]):
        at = (tables, index[:, i], columns)
        with np.errstate(invalid="ignore", over="ignore"):
            x[at] = functions[op.kind](x[at], values[:, i])
    return np.asarray(x[None])
