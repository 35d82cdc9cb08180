"""Cross-correlation of images: all convolutions are made of it. Registers no operator."""

from __future__ import annotations

from collections.abc import Sequence

from executorch_ggml.aot.registry import NodeView
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import static


def per_dim(n: NodeView, name: str, count: int) -> list[int]:
    """A list argument with one number per spatial dimension (a single number stands for all)."""
    values = n.integers(name)
    return values * count if len(values) == 1 else values


def image(
    b: Builder,
    x: Value,
    w: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Value:
    """x [N, C, H, W], w [O, C / groups, KH, KW], bias [O] -> [N, O, OH, OW]; pairs are (height, width)."""
    channels, outputs = static(x.shape[1], "channels"), static(w.shape[0], "channels")
    if groups == 1 or groups == channels == outputs:
        return b.conv_2d(w, x, bias, stride, padding, dilation)
    result = _grouped(b, x, w, stride, padding, dilation, groups)
    return result if bias is None else b.add(result, b.reshape(b.f32(bias), (outputs, 1, 1)))


def _grouped(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Value:
    channels, outputs = static(x.shape[1], "channels"), static(w.shape[0], "channels")
    if groups == channels:
        # Several kernels per channel: kernel j of each channel at a time, then interleaved.
        times = outputs // channels
        parts = []
        for j in range(times):
            kernel = b.contiguous(b.slice(w, 0, j, channels, times))
            part = b.conv_2d(kernel, x, None, stride, padding, dilation)
            parts.append(b.unsqueeze(part, 2))
        joined = b.concat(parts, 2)
        return b.reshape(joined, (joined.shape[0], outputs, *joined.shape[3:]))
    inputs, each = channels // groups, outputs // groups
    parts = [
        b.conv_2d(
            b.contiguous(b.slice(w, 0, g * each, each)),
            b.slice(x, 1, g * inputs, inputs),
            None,
            stride,
            padding,
            dilation,
        )
        for g in range(groups)
    ]
    return b.concat(parts, 1)
