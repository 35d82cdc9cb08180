"""Transposed convolutions: `conv_transpose1d`, `conv_transpose2d`, `conv_transpose3d`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product, static

from . import _axis
from ._conv_image import image, per_dim
from .conv3d import correlate

_aten = torch.ops.aten


def transposed(b: Builder, n: NodeView) -> Value:
    """x [N, C, S...], weight [C, O / groups, K...] -> [N, O, (S - 1) s - 2 p + d (K - 1) + output_padding + 1 ...]."""
    n.require_float()
    spatial = n.meta("weight").rank - 2
    x, w = b.f32(n.tensor("input")), n.tensor("weight")
    batched = x.rank == spatial + 2
    if not batched:
        x = b.unsqueeze(x, 0)
    names = ("stride", "padding", "dilation", "output_padding")
    stride, padding, dilation, extra = (per_dim(n, name, spatial) for name in names)
    groups = n.integer("groups")
    kernel = [static(k, "kernel") for k in w.shape[2:]]
    tiles = stride == kernel and groups == 1 and not any(padding) and not any(extra) and set(dilation) == {1}
    if tiles:
        result = _tiles(b, x, w, kernel)
    else:
        result = _spread(b, x, w, stride, padding, dilation, extra, groups)
    bias = n.opt_tensor("bias")
    if bias is not None:
        result = b.add(result, b.reshape(b.f32(bias), (result.shape[1], *[1] * spatial)))
    return result if batched else b.reshape(result, result.shape[1:])


def _tiles(b: Builder, x: Value, w: Value, kernel: Sequence[int]) -> Value:
    """Where kernels do not overlap each input element becomes a tile of the result: one matrix product."""
    channels, outputs = w.shape[:2]
    spatial = len(kernel)
    flat = b.derive_weight("tiles", [w], (outputs * product(kernel), channels), lambda a: a.reshape(len(a), -1).T)
    if flat is None:
        flat = b.contiguous(b.transpose(b.reshape(b.f32(w), (channels, outputs * product(kernel))), 0, 1))
    rows = b.contiguous(b.permute(x, [0, *range(2, 2 + spatial), 1]))
    made = b.mul_mat(flat, b.reshape(rows, (product(rows.shape[:-1]), channels)))
    size = x.shape[2:]
    made = b.reshape(made, (x.shape[0], *size, outputs, *kernel))
    places = [d for i in range(spatial) for d in (1 + i, 2 + spatial + i)]
    made = b.contiguous(b.permute(made, [0, 1 + spatial, *places]))
    return b.reshape(made, (x.shape[0], outputs, *(s * k for s, k in zip(size, kernel, strict=True))))


def _spread(
    b: Builder,
    x: Value,
    w: Value,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    extra: Sequence[int],
    groups: int,
) -> Value:
    """An ordinary convolution of the input with zeros between its elements, by the kernels turned around."""
    spatial = len(stride)
    for i in range(spatial):
        reach = dilation[i] * (static(w.shape[2 + i], "kernel") - 1)
        x = _axis.stretch(b, x, 2 + i, stride[i])
        # The zeros that follow the last element are part of the margin.
        x = _axis.pad(b, x, 2 + i, reach - padding[i], reach - padding[i] + extra[i] - (stride[i] - 1))
    turned = _turned(b, w, groups)
    if spatial == 3:
        return correlate(b, x, turned, None, [1] * 3, [0] * 3, dilation, groups)
    if spatial == 2:
        return image(b, x, turned, None, [1, 1], [0, 0], dilation, groups)
    result = image(b, b.unsqueeze(x, 2), b.unsqueeze(turned, 2), None, [1, 1], [0, 0], [1, dilation[0]], groups)
    return b.reshape(result, (*result.shape[:2], result.shape[3]))


def _turned(b: Builder, w: Value, groups: int) -> Value:
    """[C, O / groups, K...] -> [O, C / groups, K...] with the kernels reversed; ahead of time if the data is here."""
    channels, each, *kernel = (static(d, "weight") for d in w.shape)

    def compute(a: Any) -> Any:
        a = a.reshape(groups, channels // groups, each, *kernel).swapaxes(1, 2)
        return np.flip(a.reshape(groups * each, channels // groups, *kernel), axis=tuple(range(2, 2 + len(kernel))))

    shape = (groups * each, channels // groups, *kernel)
    derived = b.derive_weight(f"turned{groups}", [w], shape, compute)
    if derived is not None:
        return b.f32(derived)
    grouped = b.reshape(b.f32(w), (groups, channels // groups, each, product(kernel)))
    turned = b.reshape(b.contiguous(b.permute(grouped, [0, 2, 1, 3])), shape)
    for i, size in enumerate(kernel):
        turned = _axis.gather(b, turned, 2 + i, range(size - 1, -1, -1))
    return turned


def _module(dims: int, *args: Any, **kwargs: Any) -> torch.nn.Module:
    torch.manual_seed(1)
    kind = [torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d][dims - 1]
    module: torch.nn.Module = kind(*args, **kwargs)
    return module


def _cases(dims: int) -> list[Case]:
    size = (2, 4, 5, 4, 3)[: 2 + dims]
    uneven = {"stride": (2, 1, 3)[:dims], "padding": (1, 0, 2)[:dims], "output_padding": (1, 0, 0)[:dims]}
    return [
        Case(_module(dims, 4, 5, 3), [size]),
        Case(_module(dims, 4, 6, (3, 2, 4)[:dims], **uneven), [size], name="asymmetric"),
        Case(_module(dims, 4, 6, 3, dilation=2, padding=1), [size], name="dilation"),
        Case(_module(dims, 4, 6, 3, stride=2, groups=2), [size], name="grouped"),
        Case(_module(dims, 4, 4, 3, stride=2, groups=4, bias=False), [size], name="depthwise"),
        Case(_module(dims, 4, 3, 2, stride=2), [size], name="tiles"),
        Case(_module(dims, 4, 3, 2, stride=3), [size], name="gaps"),
        Case(_module(dims, 4, 3, 1, padding=0), [size], name="1x1"),
        Case(_module(dims, 4, 3, 3, stride=2, padding=3), [size], name="cropped"),
        Case(_module(dims, 4, 5, 3, stride=2), [size[1:]], name="without a batch"),
        Case(_module(dims, 4, 5, 3, stride=2), [size], dynamic=[{0: ("n", 1, 4)}], name="dynamic batch"),
    ]


@register(_aten.conv_transpose1d.default, keep=True, flops=flops.convolution, cases=lambda: _cases(1))
def conv_transpose1d(b: Builder, n: NodeView) -> Value:
    """Over one dimension."""
    return transposed(b, n)


@register(
    _aten.conv_transpose2d.input,
    keep=True,
    flops=flops.convolution,
    cases=lambda: [
        *_cases(2),
        Case(
            _module(2, 4, 5, 3, stride=2, padding=1), [(2, 4, 5, 4)], dynamic=[{2: ("h", 2, 9)}], name="dynamic height"
        ),
        Case(_module(2, 4, 3, 2, stride=2), [(2, 4, 5, 4)], dynamic=[{2: ("h", 2, 9)}], name="tiles, dynamic"),
        Case(
            lambda x, w: torch.nn.functional.conv_transpose2d(x, w),
            [(2, 4, 5, 4), (4, 3, 2, 2)],
            name="computed weight, tiles",
        ),
        Case(
            lambda x, w: torch.nn.functional.conv_transpose2d(x, w, stride=2, padding=1, groups=2),
            [(2, 4, 5, 4), (4, 3, 3, 2)],
            name="computed weight",
        ),
    ],
)
def conv_transpose2d(b: Builder, n: NodeView) -> Value:
    """Over height and width."""
    return transposed(b, n)


@register(_aten.conv_transpose3d.input, keep=True, flops=flops.convolution, cases=lambda: _cases(3))
def conv_transpose3d(b: Builder, n: NodeView) -> Value:
    """Over depth, height and width."""
    return transposed(b, n)
