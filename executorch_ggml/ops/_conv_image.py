"""Cross-correlation of images: what all convolutions are made of. Registers no operator."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import Builder, Value
from ..ir.dims import product, static
from ..registry import NodeView


def per_dim(n: NodeView, name: str, count: int) -> list[int]:
    """A list argument with one number per spatial dimension (a single number stands for all)."""
    values = n.integers(name)
    return values * count if len(values) == 1 else values


def image(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Value:
    """x [N, C, H, W], w [O, C / groups, KH, KW] -> [N, O, OH, OW]; stride, padding and dilation as (height, width)."""
    channels, outputs = static(x.shape[1], "channels"), static(w.shape[0], "channels")
    if groups == 1:
        return _dense(b, x, w, stride, padding, dilation)
    if groups == channels and outputs == channels:
        return b.conv_2d_depthwise(w, x, stride, padding, dilation)
    if groups == channels:
        # Several kernels per channel: kernel j of each channel at a time, then interleaved.
        times = outputs // channels
        parts = []
        for j in range(times):
            kernel = b.contiguous(b.slice(w, 0, j, channels, times))
            part = b.conv_2d_depthwise(kernel, x, stride, padding, dilation)
            parts.append(b.unsqueeze(part, 2))
        joined = b.concat(parts, 2)
        return b.reshape(joined, (joined.shape[0], outputs, *joined.shape[3:]))
    inputs, each = channels // groups, outputs // groups
    parts = [
        _dense(
            b,
            b.slice(x, 1, g * inputs, inputs),
            b.contiguous(b.slice(w, 0, g * each, each)),
            stride,
            padding,
            dilation,
        )
        for g in range(groups)
    ]
    return b.concat(parts, 1)


def _dense(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Value:
    """[N, C, H, W] * [O, C, KH, KW]: the patches are the rows that the kernels multiply.

    With the patches as first operand the product is [O, N * OH * OW]: for one image that is the result already.
    """
    patches = b.im2col_2d(w, x, stride, padding, dilation)
    n, oh, ow, k = patches.shape
    product_ = b.mul_mat(b.reshape(patches, (product((n, oh, ow)), k)), b.reshape(w, (w.shape[0], k)))
    return b.permute(b.reshape(product_, (w.shape[0], n, oh, ow)), [1, 0, 2, 3])
