"""Means of windows over one to three dimensions: `avg_pool2d`, `avg_pool3d`; torch makes `avg_pool1d` of the first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, Value, conv_size
from executorch_ggml.ir.dims import product, same, simplify

from . import _axis
from .max_pool import per_dim

_aten = torch.ops.aten


def _pool(b: Builder, n: NodeView, spatial: int) -> Value:
    """ggml divides by the whole window, so the zeros around the edge are counted. Where torch counts other elements,
    its divisor is a product of one number per dimension and output: the means are corrected by constant factors.
    """
    n.require_float()
    x = b.f32(n.tensor("self"))
    kernel = per_dim(n, "kernel_size", spatial, [])
    stride = per_dim(n, "stride", spatial, kernel)
    padding = per_dim(n, "padding", spatial, [0])
    first = x.rank - spatial
    size, out = x.shape[first:], n.out.shape[first:]
    if not all(isinstance(d, int) for d in (*size, *out)):
        return _of_any_size(b, n, x, kernel, stride, padding)
    whole = all(
        same(conv_size(s, k, st, p, 1), o) for s, o, k, st, p in zip(size, out, kernel, stride, padding, strict=True)
    )
    corrected = not n.has("divisor_override") and (not whole or (not n.flag("count_include_pad") and any(padding)))
    if whole and spatial == 2 and x.rank <= 4:
        x = b.pool_2d(x, False, kernel, stride, padding)
    else:
        for i in range(spatial):
            x = _windows(b, x, first + i, kernel[i], stride[i], padding[i], out[i])
    if n.has("divisor_override"):
        return b.scale(x, product(kernel) / n.number("divisor_override"))
    if corrected:
        for i in range(spatial):
            counts = _counts(n, size[i], out[i], kernel[i], stride[i], padding[i])
            if any(c != kernel[i] for c in counts):
                factor = b.constant(np.array([kernel[i] / c for c in counts], dtype=np.float32))
                x = b.mul(x, b.reshape(factor, (len(counts), *[1] * (spatial - 1 - i))))
    return x


def _of_any_size(
    b: Builder, n: NodeView, x: Value, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> Value:
    """Sizes that are not known yet. Where torch counts only some elements of a window, averages of ones (zero where it
    does not count) give the number.
    """
    spatial = len(kernel)
    first = x.rank - spatial
    size, out = x.shape[first:], n.out.shape[first:]
    ends = [_axis.open_end(*of) for of in zip(size, out, kernel, stride, padding, strict=True)]
    divisor = n.number("divisor_override") if n.has("divisor_override") else None
    counted = n.flag("count_include_pad")
    counts = []
    for i in range(spatial):
        if divisor is not None or not (ends[i] or (padding[i] and not counted)):
            continue
        inside = b.fill(1.0, (1, simplify(size[i] + 2 * padding[i]) if counted else size[i]))
        inside = _axis.pad(b, inside, 1, 0, ends[i])
        count = _axis.pool(b, inside, 1, False, kernel[i], stride[i], 0 if counted else padding[i])
        counts.append((i, b.slice(count, 1, 0, out[i])))
    for i in range(spatial):
        x = _axis.pad(b, x, first + i, 0, ends[i])
    if spatial == 2 and x.rank <= 4:
        x = b.pool_2d(x, False, kernel, stride, padding)
    else:
        for i in range(spatial):
            x = _axis.pool(b, x, first + i, False, kernel[i], stride[i], padding[i])
    for i in range(spatial):
        x = b.slice(x, first + i, 0, out[i])
    for i, count in counts:
        x = b.binary(BinaryKind.DIV, x, b.reshape(b.contiguous(count), (out[i], *[1] * (spatial - 1 - i))))
    return x if divisor is None else b.scale(x, product(kernel) / divisor)


def _windows(b: Builder, x: Value, dim: int, kernel: int, stride: int, padding: int, out: object) -> Value:
    if not same(conv_size(x.shape[dim], kernel, stride, padding, 1), out):
        [size, outputs] = _axis.sizes([x.shape[dim], out], "pooling with windows over the edge")
        x = _axis.pad(b, x, dim, padding, (outputs - 1) * stride + kernel - size - padding)
        padding = 0
    return _axis.pool(b, x, dim, False, kernel, stride, padding)


def _counts(n: NodeView, size: object, out: object, kernel: int, stride: int, padding: int) -> list[int]:
    """How many elements along one dimension torch counts in each window."""
    [length, outputs] = _axis.sizes([size, out], "means that do not count the padding")
    low, high = (-padding, length + padding) if n.flag("count_include_pad") else (0, length)
    starts = [i * stride - padding for i in range(outputs)]
    return [min(s + kernel, high) - max(s, low) for s in starts]


_IMAGE = (2, 3, 8, 7)
_VOLUME = (2, 3, 5, 7, 6)


def _cases_2d() -> list[Case]:
    return [
        Case(lambda x: F.avg_pool2d(x, 2), [_IMAGE]),
        Case(lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)), [_IMAGE], name="asymmetric"),
        Case(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), [_IMAGE], name="padding not counted"),
        Case(lambda x: F.avg_pool2d(x, 2, ceil_mode=True), [_IMAGE], name="ceil"),
        Case(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), [_IMAGE], name="ceil and padding"),
        Case(lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), [_IMAGE], name="ceil, padding not counted"),
        Case(lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=4), [_IMAGE], name="divisor"),
        Case(lambda x: F.avg_pool2d(x, 2), [(3, 8, 7)], name="without a batch"),
        Case(lambda x: F.avg_pool2d(x, 2), [_IMAGE], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
        Case(
            lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
            [_IMAGE],
            dynamic=[{0: ("n", 1, 4)}],
            name="padding not counted, dynamic batch",
        ),
        Case(
            lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
            [_IMAGE],
            dynamic=[{2: ("h", 4, 9)}],
            name="padding not counted, dynamic height",
        ),
        Case(
            lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
            [_IMAGE],
            dynamic=[{2: ("h", 4, 9), 3: ("w", 4, 9)}],
            name="divisor, dynamic sides",
        ),
        Case(lambda x: F.avg_pool1d(x, 3, 2, 1), [(2, 3, 9)], name="one dimension"),
        Case(lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), [(2, 3, 10)], name="one dimension, all"),
    ]


@register(_aten.avg_pool2d.default, keep=True, cases=_cases_2d)
def avg_pool2d(b: Builder, n: NodeView) -> Value:
    """Mean of each window."""
    return _pool(b, n, 2)


def _cases_3d() -> list[Case]:
    return [
        Case(lambda x: F.avg_pool3d(x, 2), [_VOLUME]),
        Case(lambda x: F.avg_pool3d(x, (3, 2, 3), (1, 2, 1), (1, 0, 1)), [_VOLUME], name="asymmetric"),
        Case(lambda x: F.avg_pool3d(x, 3, 2, 1, True, False), [_VOLUME], name="ceil, padding not counted"),
        Case(lambda x: F.avg_pool3d(x, 2, ceil_mode=True), [_VOLUME], name="ceil"),
        Case(lambda x: F.avg_pool3d(x, 2, divisor_override=3), [_VOLUME], name="divisor"),
        Case(lambda x: F.avg_pool3d(x, 2), [(3, 5, 7, 6)], name="without a batch"),
        Case(lambda x: F.avg_pool3d(x, 2), [_VOLUME], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
    ]


@register(_aten.avg_pool3d.default, keep=True, cases=_cases_3d)
def avg_pool3d(b: Builder, n: NodeView) -> Value:
    """As avg_pool2d, over depth, height and width."""
    return _pool(b, n, 3)
