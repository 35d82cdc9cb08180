"""Convolutions, by patches and one matrix product in full precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..ir.builder import Builder, Value
from ..ir.dims import product, static
from ..registry import Case, NodeView, Unsupported, register

_aten = torch.ops.aten


def _conv(*args: Any, dims: int = 2, seed: int = 1, **kwargs: Any) -> torch.nn.Module:
    torch.manual_seed(seed)
    kind = torch.nn.Conv2d if dims == 2 else torch.nn.Conv1d
    module: torch.nn.Module = kind(*args, **kwargs)
    return module


def _cases_2d() -> list[Case]:
    image = (2, 4, 7, 6)
    return [
        Case(_conv(4, 5, 3), [image]),
        Case(_conv(4, 5, 3, padding=1), [(1, 4, 6, 6)], name="one image"),
        Case(_conv(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), [image], name="asymmetric"),
        Case(_conv(4, 4, 1, bias=False), [image], name="1x1"),
        Case(_conv(4, 4, 3, padding=1, groups=4), [image], name="depthwise"),
        Case(_conv(4, 4, (3, 2), stride=(1, 2), padding=(0, 1), groups=4), [image], name="depthwise asymmetric"),
        Case(_conv(4, 8, 3, padding=1, groups=4), [image], name="depthwise with multiplier"),
        Case(_conv(4, 6, 3, padding=1, groups=2), [image], name="grouped"),
        Case(_conv(4, 5, 3, padding="same"), [image], name="same"),
        Case(_conv(4, 5, 3), [image], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
        Case(_conv(4, 5, 3, padding=1, stride=2), [(1, 4, 9, 6)], dynamic=[{2: ("h", 4, 20)}], name="dynamic height"),
        Case(torch.nn.ConvTranspose2d(4, 5, 3), [image], refused="transposed", name="transposed"),
    ]


def _cases_1d() -> list[Case]:
    signal = (2, 4, 9)
    return [
        Case(_conv(4, 5, 3, dims=1), [signal]),
        Case(_conv(4, 6, 3, dims=1, stride=2, padding=2, dilation=2), [signal], name="all"),
        Case(_conv(4, 4, 3, dims=1, groups=4), [signal], name="depthwise"),
        Case(_conv(4, 6, 3, dims=1, groups=2, bias=False), [signal], name="grouped"),
        Case(_conv(4, 5, 3, dims=1), [signal], dynamic=[{2: ("t", 4, 12)}], name="dynamic length"),
    ]


@register(_aten.conv2d.default, keep=True, cases=_cases_2d)
def conv2d(b: Builder, n: NodeView) -> Value:
    """Cross-correlation of [N, C, H, W] with [O, C / groups, KH, KW]."""
    return _lower(b, n)


@register(_aten.conv1d.default, keep=True, cases=_cases_1d)
def conv1d(b: Builder, n: NodeView) -> Value:
    """As conv2d over images of height one."""
    return _lower(b, n)


@register(_aten.convolution.default)
def convolution(b: Builder, n: NodeView) -> Value:
    """The form after decomposition."""
    if n.flag("transposed"):
        raise Unsupported("transposed convolution")
    return _lower(b, n)


def _lower(b: Builder, n: NodeView) -> Value:
    n.require_float()
    spatial = len(n.meta("weight").shape) - 2
    if spatial not in (1, 2):
        raise Unsupported(f"convolution over {spatial} dimensions")
    if n.meta("input").rank != spatial + 2:
        raise Unsupported("convolution of an image without a batch dimension")
    stride, padding, dilation = (_per_dim(n, name, spatial) for name in ("stride", "padding", "dilation"))
    x, w = n.tensor("input"), b.f32(n.tensor("weight"))
    if spatial == 1:
        x, w = b.unsqueeze(b.f32(x), 2), b.unsqueeze(w, 2)
        stride, padding, dilation = [1, *stride], [0, *padding], [1, *dilation]
    result = _image(b, x, w, stride, padding, dilation, n.integer("groups"))
    bias = n.opt_tensor("bias")
    if bias is not None:
        result = b.add(result, b.reshape(b.f32(bias), (result.shape[1], 1, 1)))
    return b.reshape(result, (*result.shape[:2], result.shape[3])) if spatial == 1 else result


def _per_dim(n: NodeView, name: str, count: int) -> list[int]:
    values = n.integers(name)
    return values * count if len(values) == 1 else values


def _image(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Value:
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
