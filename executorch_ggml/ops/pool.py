"""Pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..ir.builder import Builder, Value, conv_size
from ..ir.dims import same
from ..registry import Case, NodeView, Unsupported, register

_aten = torch.ops.aten


def _pair(n: NodeView, name: str, default: list[int]) -> list[int]:
    values = n.integers(name) or default
    return values * 2 if len(values) == 1 else values


def _pool(b: Builder, n: NodeView, maximum: bool) -> Value:
    n.require_float()
    x = b.f32(n.tensor("self"))
    kernel = _pair(n, "kernel_size", [])
    stride, padding = _pair(n, "stride", kernel), _pair(n, "padding", [0, 0])
    if maximum and _pair(n, "dilation", [1, 1]) != [1, 1]:
        raise Unsupported("dilated pooling")
    for i in (0, 1):
        size = conv_size(x.shape[-2 + i], kernel[i], stride[i], padding[i], 1)
        # ceil_mode only matters where a partial window hangs over the edge.
        if n.flag("ceil_mode") and not same(size, n.out.shape[-2 + i]):
            raise Unsupported("pooling with windows over the edge (ceil_mode)")
    return b.pool_2d(x, maximum, kernel, stride, padding)


_IMAGE = (2, 3, 8, 7)


@register(
    _aten.max_pool2d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.max_pool2d(x, 2), [_IMAGE]),
        Case(lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0)), [_IMAGE], name="asymmetric"),
        Case(lambda x: F.max_pool2d(x - 9, 3, 1, 1), [_IMAGE], name="negative"),
        Case(lambda x: F.max_pool2d(x, 2, ceil_mode=True), [(1, 2, 4, 6)], name="ceil without effect"),
        Case(lambda x: F.max_pool2d(x, 2, ceil_mode=True), [_IMAGE], refused="no lowering", name="ceil"),
    ],
)
def max_pool2d(b: Builder, n: NodeView) -> Value:
    """Largest value of each window."""
    return _pool(b, n, True)


@register(_aten.max_pool2d_with_indices.default)
def max_pool2d_with_indices(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As max_pool2d; the indices are only there for unpooling."""
    if n.used_outputs() - {0}:
        raise Unsupported("indices of pooling are used; no lowering")
    try:
        return _pool(b, n, True), None
    except Unsupported as e:
        raise Unsupported(f"{e}; no lowering") from e


@register(
    _aten.avg_pool2d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.avg_pool2d(x, 2), [_IMAGE]),
        Case(lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 0)), [_IMAGE], name="asymmetric"),
        Case(lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), [_IMAGE], refused="padding", name="count"),
    ],
)
def avg_pool2d(b: Builder, n: NodeView) -> Value:
    """Mean of each window, padding counted."""
    if n.has("divisor_override"):
        raise Unsupported("a divisor of one's own")
    if not n.flag("count_include_pad") and any(n.integers("padding")):
        raise Unsupported("means that do not count the padding")
    return _pool(b, n, False)


@register(
    _aten._adaptive_avg_pool2d.default,
    _aten.adaptive_avg_pool2d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.adaptive_avg_pool2d(x, 1), [_IMAGE], name="global"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (2, 7)), [_IMAGE], name="whole windows"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (3, 3)), [_IMAGE], refused="unequal", name="unequal"),
    ],
)
def adaptive_avg_pool2d(b: Builder, n: NodeView) -> Value:
    """Means of equal windows that tile the image."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    out = n.integers("output_size")
    if out == [1, 1]:
        return b.reduce("mean", x, [-2, -1], True)
    size = x.shape[-2:]
    if not all(isinstance(s, int) and s % o == 0 for s, o in zip(size, out, strict=True)):
        raise Unsupported("adaptive pooling with unequal windows")
    window = [s // o for s, o in zip(size, out, strict=True)]
    return b.pool_2d(x, False, window, window, [0, 0])
