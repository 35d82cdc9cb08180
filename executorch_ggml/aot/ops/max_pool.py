"""Maximum of windows: `max_pool2d`, `max_pool2d_with_indices`, `max_pool3d_with_indices`.

The positions of the maxima are computed if the program reads them. torch makes `max_pool1d` of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, DType, UnaryKind, Value, conv_size
from executorch_ggml.ir.dims import product, same

from . import _axis
from .compare import is_number
from .where import choose

_aten = torch.ops.aten

# Window positions per dimension and output: windows[dim][output] lists where its elements lie.
Windows = list[list[list[int]]]


def per_dim(n: NodeView, name: str, spatial: int, default: Sequence[int]) -> list[int]:
    """A list argument with one number per spatial dimension (a single number stands for all)."""
    values = list(n.integers(name) or default)
    return values * spatial if len(values) == 1 else values


def inside(positions: Sequence[int], size: int) -> list[int]:
    """Positions with those outside [0, size) replaced by one that is inside: repeats do not change a maximum."""
    valid = [p for p in positions if 0 <= p < size]
    if not valid:
        raise Unsupported("a window that lies wholly in the padding")
    return [p if 0 <= p < size else valid[-1] for p in positions]


def maxima(b: Builder, x: Value, windows: Windows) -> Value:
    """Maximum of each window of the last ``len(windows)`` dimensions: one dimension after the other."""
    first = x.rank - len(windows)
    for i, lists in enumerate(windows):
        width = len(lists[0])
        x = _axis.gather(b, x, first + i, [p for positions in lists for p in positions])
        x = _axis.pool(b, x, first + i, True, width, width)
    return x


def maxima_and_positions(b: Builder, x: Value, windows: Windows) -> tuple[Value, Value]:
    """As ``maxima``, and the row-major position of each window's first maximum within the spatial dimensions.

    As in torch, a window with NaN has NaN, and the position of the last of them.
    """
    import numpy as np

    spatial = len(windows)
    size = _axis.sizes(x.shape[-spatial:], "pooling with indices")
    total = product(size)
    if total >= 1 << 24:
        raise Unsupported("positions beyond 2^24 are not exact in float32")
    lead = x.shape[: x.rank - spatial]
    for i, lists in enumerate(windows):
        x = _axis.gather(b, x, len(lead) + i, [p for positions in lists for p in positions])
    outs, widths = [len(w) for w in windows], [len(w[0]) for w in windows]
    split = [d for pair in zip(outs, widths, strict=True) for d in pair]
    x = b.reshape(x, (product(lead), *split))
    x = b.permute(x, [0, *range(1, 2 * spatial, 2), *range(2, 2 * spatial + 1, 2)])
    rows = b.reshape(b.contiguous(x), (product(lead), product(outs), product(widths)))
    table = np.zeros([1] * (2 * spatial), dtype=np.float32)
    for i, lists in enumerate(windows):
        shape = [1] * (2 * spatial)
        shape[i], shape[spatial + i] = outs[i], widths[i]
        table = table + np.array(lists, dtype=np.float32).reshape(shape) * product(size[i + 1 :])
    # Of several equal maxima torch names the first, the one with the lowest position.
    best = b.max_rows(rows)
    is_less = b.unary(UnaryKind.STEP, b.binary(BinaryKind.SUB, best, rows))
    places = table.reshape(product(outs), product(widths))
    score = b.mul(b.scale(is_less, -1.0, 1.0), b.constant(float(total) - places))
    position = b.scale(b.max_rows(score), -1.0, float(total))
    missing = b.scale(is_number(b, rows), -1.0, 1.0)
    last = b.max_rows(b.mul(missing, b.constant(places + 1.0)))  # 0 without NaN
    is_missing = b.unary(UnaryKind.STEP, last)
    best = choose(b, is_missing, math.nan, best, best.shape)
    position = choose(b, is_missing, b.scale(last, 1.0, -1.0), position, position.shape)
    result = (*lead, *outs)
    return b.reshape(best, result), b.reshape(position, result).with_dtype(DType.INT64)


def _windows(n: NodeView, spatial: int) -> tuple[Windows | None, list[int], list[int], list[int]]:
    """Explicit windows, or None where plain pooling with (kernel, stride, padding) does the same."""
    kernel = per_dim(n, "kernel_size", spatial, [])
    stride = per_dim(n, "stride", spatial, kernel)
    padding = per_dim(n, "padding", spatial, [0])
    dilation = per_dim(n, "dilation", spatial, [1])
    size, out = n.meta("self").shape[-spatial:], n.outs[0].shape[-spatial:]
    plain = all(
        d == 1 and same(conv_size(s, k, st, p, 1), o)
        for s, o, k, st, p, d in zip(size, out, kernel, stride, padding, dilation, strict=True)
    )
    if plain:
        return None, kernel, stride, padding
    if all(d == 1 for d in dilation) and not all(isinstance(d, int) for d in (*size, *out)):
        return None, kernel, stride, padding  # by _open_end
    what = "pooling with dilation or with windows over the edge"
    windows = [
        [inside([i * st - p + j * d for j in range(k)], s) for i in range(o)]
        for s, o, k, st, p, d in zip(
            _axis.sizes(size, what), _axis.sizes(out, what), kernel, stride, padding, dilation, strict=True
        )
    ]
    return windows, kernel, stride, padding


def _values(b: Builder, n: NodeView, spatial: int) -> Value:
    n.require_float()
    x = b.f32(n.tensor("self"))
    windows, kernel, stride, padding = _windows(n, spatial)
    if windows is not None:
        return maxima(b, x, windows)
    out = n.outs[0].shape[-spatial:]
    first = x.rank - spatial
    ends = [_axis.open_end(x.shape[first + i], out[i], kernel[i], stride[i], padding[i]) for i in range(spatial)]
    for i, end in enumerate(ends):
        # A window that goes beyond the last entry holds it: once more it changes no maximum.
        x = _axis.edges(b, x, first + i, 0, end)
    if any(ends):
        x = _pooled(b, x, spatial, kernel, stride, padding)
        for i, size in enumerate(out):
            x = b.slice(x, first + i, 0, size)
        return x
    return _pooled(b, x, spatial, kernel, stride, padding)


def _pooled(
    b: Builder, x: Value, spatial: int, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Value:
    if spatial == 2 and x.rank <= 4:
        return b.pool_2d(x, True, kernel, stride, padding)
    for i in range(spatial):
        x = _axis.pool(b, x, x.rank - spatial + i, True, kernel[i], stride[i], padding[i])
    return x


_IMAGE = (2, 3, 8, 7)
_VOLUME = (2, 3, 5, 7, 6)


def _tied(x: torch.Tensor) -> torch.Tensor:
    """Many equal values, as after a ReLU."""
    return torch.relu(torch.round(x))


def _cases_2d() -> list[Case]:
    return [
        Case(lambda x: F.max_pool2d(x, 2), [_IMAGE]),
        Case(lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)), [_IMAGE], name="asymmetric"),
        Case(lambda x: F.max_pool2d(x - 9, 3, 1, 1), [_IMAGE], name="negative"),
        Case(lambda x: F.max_pool2d(x, 2, ceil_mode=True), [(1, 2, 4, 6)], name="ceil without effect"),
        Case(lambda x: F.max_pool2d(x - 9, 2, ceil_mode=True), [_IMAGE], name="ceil"),
        Case(lambda x: F.max_pool2d(x - 9, 3, 2, 1, ceil_mode=True), [_IMAGE], name="ceil and padding"),
        Case(lambda x: F.max_pool2d(x - 9, 3, 1, 1, dilation=(2, 1)), [_IMAGE], name="dilation"),
        Case(lambda x: F.max_pool2d(x, 2), [(3, 8, 7)], name="without a batch"),
        Case(lambda x: F.max_pool2d(x.permute(0, 3, 1, 2), 2), [(2, 8, 7, 3)], name="channels last"),
        Case(lambda x: F.max_pool2d(x, 2), [_IMAGE], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
        Case(lambda x: F.max_pool2d(x, 2, ceil_mode=True), [_IMAGE], dynamic=[{0: ("n", 1, 4)}], name="ceil, dynamic"),
        Case(
            lambda x: F.max_pool2d(x - 9, 3, 2, 1), [_IMAGE], dynamic=[{2: ("h", 3, 9), 3: ("w", 3, 9)}], name="sides"
        ),
    ]


@register(_aten.max_pool2d.default, keep=True, cases=_cases_2d)
def max_pool2d(b: Builder, n: NodeView) -> Value:
    """Largest value of each window."""
    return _values(b, n, 2)


def _indexed(b: Builder, n: NodeView, spatial: int) -> tuple[Value | None, ...]:
    if not n.used_outputs() - {0}:
        return _values(b, n, spatial), None
    n.require_float()
    x = b.f32(n.tensor("self"))
    windows, kernel, stride, padding = _windows(n, spatial)
    if windows is None:
        size = _axis.sizes(x.shape[-spatial:], "pooling with indices")
        out = _axis.sizes(n.outs[0].shape[-spatial:], "pooling with indices")
        windows = [
            [inside([i * st - p + j for j in range(k)], s) for i in range(o)]
            for s, o, k, st, p in zip(size, out, kernel, stride, padding, strict=True)
        ]
    return maxima_and_positions(b, x, windows)


def _indexed_cases() -> list[Case]:
    return [
        Case(lambda x: F.max_pool2d(x, 2, return_indices=True), [_IMAGE]),
        Case(lambda x: F.max_pool2d(_tied(x), 3, 2, 1, return_indices=True), [_IMAGE], name="ties and padding"),
        Case(lambda x: F.max_pool2d(_tied(x), 3, 1, 1, 2, True, True), [_IMAGE], name="dilation and ceil"),
        Case(lambda x: F.max_pool1d(_tied(x), 3, 2, 1, return_indices=True), [(2, 3, 9)], name="one dimension"),
    ]


@register(_aten.max_pool2d_with_indices.default, cases=_indexed_cases)
def max_pool2d_with_indices(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As max_pool2d, and where each maximum lies."""
    return _indexed(b, n, 2)


def _cases_3d() -> list[Case]:
    return [
        Case(lambda x: F.max_pool3d(x, 2), [_VOLUME]),
        Case(lambda x: F.max_pool3d(x - 9, (3, 2, 3), (1, 2, 1), (1, 0, 1)), [_VOLUME], name="asymmetric"),
        Case(lambda x: F.max_pool3d(x - 9, 2, dilation=(1, 2, 2)), [_VOLUME], name="dilation"),
        Case(lambda x: F.max_pool3d(x - 9, 2, ceil_mode=True), [_VOLUME], name="ceil"),
        Case(lambda x: F.max_pool3d(x, 2), [(3, 5, 7, 6)], name="without a batch"),
        Case(lambda x: F.max_pool3d(_tied(x), 3, 2, 1, return_indices=True), [_VOLUME], name="indices"),
        Case(lambda x: F.max_pool3d(x, 2), [_VOLUME], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
    ]


@register(_aten.max_pool3d_with_indices.default, cases=_cases_3d)
def max_pool3d_with_indices(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As max_pool2d_with_indices, over depth, height and width."""
    return _indexed(b, n, 3)
