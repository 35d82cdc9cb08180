"""`conv3d`: convolution of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value, conv_size
from executorch_ggml.ir.dims import product, static

from ._conv_image import per_dim

_aten = torch.ops.aten


def volume(b: Builder, n: NodeView) -> Value:
    """Cross-correlation of [N, C, D, H, W] with [O, C / groups, KD, KH, KW]."""
    n.require_float()
    x, w = b.f32(n.tensor("input")), b.f32(n.tensor("weight"))
    stride, padding, dilation = (per_dim(n, name, 3) for name in ("stride", "padding", "dilation"))
    batched = x.rank == 5
    if not batched:
        x = b.unsqueeze(x, 0)
    result = correlate(b, x, w, n.opt_tensor("bias"), stride, padding, dilation, n.integer("groups"))
    return result if batched else b.reshape(result, result.shape[1:])


def correlate(
    b: Builder,
    x: Value,
    w: Value,
    bias: Value | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Value:
    """The same on values; a batch dimension is there."""
    channels, outputs = static(x.shape[1], "channels"), static(w.shape[0], "channels")
    if groups == 1:
        if w.shape[3:] == (1, 1) and list(stride[1:]) == [1, 1] and list(padding[1:]) == [0, 0]:
            return _along_depth(b, x, w, bias, stride[0], padding[0], dilation[0])
        return b.conv_3d(w, x, bias, stride, padding, dilation)
    if groups == channels == outputs:
        result = _depthwise(b, x, w, stride, padding, dilation)
    else:
        inputs, each = channels // groups, outputs // groups
        parts = [
            b.conv_3d(
                b.contiguous(b.slice(w, 0, g * each, each)),
                b.slice(x, 1, g * inputs, inputs),
                None,
                stride,
                padding,
                dilation,
            )
            for g in range(groups)
        ]
        result = b.concat(parts, 1)
    return result if bias is None else b.add(result, b.reshape(b.f32(bias), (outputs, 1, 1, 1)))


def _along_depth(b: Builder, x: Value, w: Value, bias: Value | None, stride: int, padding: int, dilation: int) -> Value:
    """A kernel of one pixel: the pixels of a plane are the width of an image, its height is the depth."""
    count, channels, depth, *plane = x.shape
    pixels = b.reshape(b.contiguous(x), (count, channels, depth, product(plane)))
    kernel = b.reshape(b.contiguous(w), (*w.shape[:3], 1))
    result = b.conv_2d(kernel, pixels, bias, (stride, 1), (padding, 0), (dilation, 1))
    return b.reshape(result, (*result.shape[:3], *plane))


def _depthwise(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Value:
    """One kernel for each channel: a sum over the taps of its depth, each a depthwise convolution of images."""
    taps = static(w.shape[2], "the kernel's depth")
    depth = conv_size(x.shape[2], taps, stride[0], padding[0], dilation[0])
    planes = b.contiguous(b.transpose(x, 1, 2))  # [N, D, C, H, W]
    if padding[0]:  # whole planes: quicker than padding within
        zeros = b.fill(0.0, (x.shape[0], padding[0], x.shape[1], *x.shape[3:]))
        planes = b.concat([zeros, planes, zeros], 1)
    result = None
    for k in range(taps):
        part = b.contiguous(b.slice(planes, 1, k * dilation[0], depth, stride[0]))
        images = b.reshape(part, (product((x.shape[0], depth)), *x.shape[1:2], *x.shape[3:]))
        kernel = b.reshape(b.contiguous(b.slice(w, 2, k, 1)), (w.shape[0], 1, *w.shape[3:]))
        term = b.conv_2d(kernel, images, None, stride[1:], padding[1:], dilation[1:])
        result = term if result is None else b.add(result, term)
    assert result is not None
    result = b.reshape(result, (x.shape[0], depth, *result.shape[1:]))
    return b.transpose(result, 1, 2)


def _conv(*args: Any, **kwargs: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    module: torch.nn.Module = torch.nn.Conv3d(*args, **kwargs)
    return module


def _cases() -> list[Case]:
    size = (2, 4, 5, 7, 6)
    return [
        Case(_conv(4, 5, 3), [size]),
        Case(
            _conv(4, 6, (3, 2, 3), stride=(2, 1, 2), padding=(1, 0, 2), dilation=(1, 2, 1)), [size], name="asymmetric"
        ),
        Case(_conv(4, 5, 1, bias=False), [size], name="1x1x1"),
        Case(_conv(4, 5, (3, 1, 1), stride=(2, 1, 1), padding=(2, 0, 0), dilation=(2, 1, 1)), [size], name="3x1x1"),
        Case(_conv(4, 5, (3, 1, 1), stride=(1, 2, 1)), [size], name="3x1x1 with a stride in the plane"),
        Case(_conv(4, 5, (1, 3, 3), padding=(0, 1, 1)), [size], name="1x3x3"),
        Case(_conv(1, 18, 3, padding=1), [(1, 1, 4, 9, 13)], name="one channel"),
        Case(torch.nn.Sequential(_conv(4, 5, 3, padding=1), torch.nn.SiLU()), [size], name="and an activation"),
        Case(_conv(4, 4, 3, padding=1, groups=4), [size], name="depthwise"),
        Case(
            _conv(4, 4, (3, 2, 3), stride=(2, 1, 2), padding=(1, 0, 2), dilation=(2, 2, 1), groups=4),
            [size],
            name="asymmetric depthwise",
        ),
        Case(_conv(4, 8, 3, padding=1, groups=4), [size], name="two kernels a channel"),
        Case(_conv(4, 6, 3, padding=1, groups=2), [size], name="grouped"),
        Case(_conv(4, 5, 3, padding="same"), [size], name="same"),
        Case(_conv(4, 5, 3), [size[1:]], name="without a batch"),
        Case(_conv(4, 5, 3), [size], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
        Case(_conv(4, 5, 3, padding=1), [size], dynamic=[{2: ("d", 3, 9)}], name="dynamic depth"),
        Case(_conv(4, 5, 3, padding=1), [size], dynamic=[{3: ("h", 3, 9), 4: ("w", 3, 9)}], name="dynamic plane"),
        Case(_conv(4, 4, 3, padding=1, groups=4), [size], dynamic=[{2: ("d", 3, 9)}], name="depthwise, dynamic depth"),
    ]


@register(_aten.conv3d.default, keep=True, flops=flops.convolution, cases=_cases)
def conv3d(b: Builder, n: NodeView) -> Value:
    """Convolution over depth, height and width."""
    return volume(b, n)
