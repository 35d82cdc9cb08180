"""Convolution of volumes: the taps along the depth become channels of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..ir.builder import Builder, Value, conv_size
from ..ir.dims import product
from ..registry import Case, NodeView, register
from . import _axis
from ._conv_image import image, per_dim

_aten = torch.ops.aten


def volume(b: Builder, n: NodeView) -> Value:
    """Cross-correlation of [N, C, D, H, W] with [O, C / groups, KD, KH, KW]."""
    n.require_float()
    x, w = b.f32(n.tensor("input")), b.f32(n.tensor("weight"))
    stride, padding, dilation = (per_dim(n, name, 3) for name in ("stride", "padding", "dilation"))
    batched = x.rank == 5
    if not batched:
        x = b.unsqueeze(x, 0)
    result = correlate(b, x, w, stride, padding, dilation, n.integer("groups"))
    bias = n.opt_tensor("bias")
    if bias is not None:
        result = b.add(result, b.reshape(b.f32(bias), (result.shape[1], 1, 1, 1)))
    return result if batched else b.reshape(result, result.shape[1:])


def correlate(
    b: Builder, x: Value, w: Value, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Value:
    """The same without bias, on values; a batch dimension is there."""
    count, channels = x.shape[:2]
    outputs, each, taps = w.shape[:3]
    depth = conv_size(x.shape[2], taps, stride[0], padding[0], dilation[0])
    x = _axis.pad(b, x, 2, padding[0], padding[0])
    parts = [b.unsqueeze(b.slice(x, 2, k * dilation[0], depth, stride[0]), 2) for k in range(taps)]
    # [N, C, KD, OD, H, W] -> one image for each depth of the result, with C * KD channels
    stacked = b.permute(_axis.concat(b, parts, 2), [0, 3, 1, 2, 4, 5])
    images = b.reshape(stacked, (product((count, depth)), channels * taps, *x.shape[3:]))
    kernel = b.reshape(b.contiguous(w), (outputs, each * taps, *w.shape[3:]))
    result = image(b, images, kernel, None, stride[1:], padding[1:], dilation[1:], groups)
    result = b.reshape(result, (count, depth, outputs, *result.shape[2:]))
    return b.permute(result, [0, 2, 1, 3, 4])


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
        Case(_conv(4, 4, 3, padding=1, groups=4), [size], name="depthwise"),
        Case(_conv(4, 6, 3, padding=1, groups=2), [size], name="grouped"),
        Case(_conv(4, 5, 3, padding="same"), [size], name="same"),
        Case(_conv(4, 5, 3), [size[1:]], name="without a batch"),
        Case(_conv(4, 5, 3), [size], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
        Case(_conv(4, 5, 3, padding=1), [size], dynamic=[{2: ("d", 3, 9)}], name="dynamic depth"),
    ]


@register(_aten.conv3d.default, keep=True, cases=_cases)
def conv3d(b: Builder, n: NodeView) -> Value:
    """Convolution over depth, height and width."""
    return volume(b, n)
