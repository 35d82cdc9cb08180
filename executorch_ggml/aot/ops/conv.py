"""Convolutions in full precision: `conv1d`, `conv2d`, `convolution`."""

from __future__ import annotations

from typing import Any

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value

from ._conv_image import image, per_dim
from .conv3d import volume
from .conv_transpose import transposed

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


@register(_aten.conv2d.default, keep=True, flops=flops.convolution, cases=_cases_2d)
def conv2d(b: Builder, n: NodeView) -> Value:
    """Cross-correlation of [N, C, H, W] with [O, C / groups, KH, KW]."""
    return _lower(b, n)


@register(_aten.conv1d.default, keep=True, flops=flops.convolution, cases=_cases_1d)
def conv1d(b: Builder, n: NodeView) -> Value:
    """As conv2d over images of height one."""
    return _lower(b, n)


@register(_aten.convolution.default, flops=flops.convolution)
def convolution(b: Builder, n: NodeView) -> Value:
    """The form after decomposition, for any number of dimensions and for transposed ones."""
    if n.flag("transposed"):
        return transposed(b, n)
    if n.meta("weight").rank == 5:
        return volume(b, n)
    return _lower(b, n)


def _lower(b: Builder, n: NodeView) -> Value:
    n.require_float()
    spatial = len(n.meta("weight").shape) - 2
    if spatial not in (1, 2):
        raise Unsupported(f"convolution over {spatial} dimensions")
    if n.meta("input").rank != spatial + 2:
        raise Unsupported("convolution of an image without a batch dimension")
    stride, padding, dilation = (per_dim(n, name, spatial) for name in ("stride", "padding", "dilation"))
    x, w = n.tensor("input"), b.f32(n.tensor("weight"))
    if spatial == 1:
        x, w = b.unsqueeze(b.f32(x), 2), b.unsqueeze(w, 2)
        stride, padding, dilation = [1, *stride], [0, *padding], [1, *dilation]
    result = image(b, x, w, n.opt_tensor("bias"), stride, padding, dilation, n.integer("groups"))
    return b.reshape(result, (*result.shape[:2], result.shape[3])) if spatial == 1 else result
