"""Pooling to a given size: `adaptive_avg_pool2d`, `adaptive_avg_pool3d`, `adaptive_max_pool2d`, `adaptive_max_pool3d`.

Output i of o covers [floor(i s / o), ceil((i + 1) s / o)). `_adaptive_avg_pool2d` and `_adaptive_avg_pool3d` are the
forms after decomposition.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value

from . import _axis
from .max_pool import maxima, maxima_and_positions

_aten = torch.ops.aten

# Windows of unequal length are a few nodes each: beyond this the host is the better place.
_MOST_UNEQUAL = 64


def _spans(size: int, out: int) -> list[tuple[int, int]]:
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _mean(b: Builder, n: NodeView, spatial: int) -> Value:
    n.require_float()
    x = b.f32(n.tensor("self"))
    out = n.integers("output_size")
    first = x.rank - spatial
    if out == [1] * spatial:
        return b.reduce("mean", x, list(range(first, x.rank)), True)
    size = x.shape[first:]
    if spatial == 2 and x.rank <= 4 and all(isinstance(s, int) and s % o == 0 for s, o in zip(size, out, strict=True)):
        window = [s // o for s, o in zip(size, out, strict=True)]
        return b.pool_2d(x, False, window, window, [0, 0])
    for i, o in enumerate(out):
        x = _mean_axis(b, x, first + i, o)
    return x


def _mean_axis(b: Builder, x: Value, dim: int, out: int) -> Value:
    if out == 1:
        return b.reduce("mean", x, [dim], True)
    [size] = _axis.sizes([x.shape[dim]], "adaptive pooling")
    if size % out == 0:
        return _axis.pool(b, x, dim, False, size // out, size // out)
    if out > _MOST_UNEQUAL:
        raise Unsupported(f"adaptive pooling into {out} unequal windows")
    parts = [b.reduce("mean", b.slice(x, dim, start, end - start), [dim], True) for start, end in _spans(size, out)]
    return _axis.concat(b, parts, dim)


def _largest(b: Builder, n: NodeView, spatial: int) -> tuple[Value | None, ...]:
    n.require_float()
    x = b.f32(n.tensor("self"))
    out = n.integers("output_size")
    size = _axis.sizes(x.shape[x.rank - spatial :], "adaptive pooling")
    windows = []
    for s, o in zip(size, out, strict=True):
        spans = _spans(s, o)
        width = max(end - start for start, end in spans)
        # Shorter windows repeat their last element, which changes no maximum.
        windows.append([[min(start + j, end - 1) for j in range(width)] for start, end in spans])
    if n.used_outputs() - {0}:
        return maxima_and_positions(b, x, windows)
    return maxima(b, x, windows), None


_IMAGE = (2, 3, 8, 7)
_VOLUME = (2, 3, 5, 7, 6)


@register(
    _aten._adaptive_avg_pool2d.default,
    _aten.adaptive_avg_pool2d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.adaptive_avg_pool2d(x, 1), [_IMAGE], name="global"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (2, 7)), [_IMAGE], name="whole windows"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (3, 5)), [_IMAGE], name="unequal"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (11, 3)), [_IMAGE], name="larger than the image"),
        Case(lambda x: F.adaptive_avg_pool2d(x, (3, None)), [(3, 8, 7)], name="without a batch"),
        Case(lambda x: F.adaptive_avg_pool1d(x, 4), [(2, 3, 9)], name="one dimension"),
        Case(lambda x: F.adaptive_avg_pool2d(x, 1), [_IMAGE], dynamic=[{2: ("h", 2, 9)}], name="global, dynamic"),
        Case(lambda x: F.adaptive_avg_pool2d(x, 3), [_IMAGE], dynamic=[{0: ("n", 1, 4)}], name="unequal, dynamic"),
        Case(lambda x: F.adaptive_avg_pool2d(x, 100), [_IMAGE], refused="100 unequal", name="too many"),
    ],
)
def adaptive_avg_pool2d(b: Builder, n: NodeView) -> Value:
    """Means of windows that cover the image evenly."""
    return _mean(b, n, 2)


@register(
    _aten._adaptive_avg_pool3d.default,
    _aten.adaptive_avg_pool3d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.adaptive_avg_pool3d(x, 1), [_VOLUME], name="global"),
        Case(lambda x: F.adaptive_avg_pool3d(x, (2, 7, 3)), [_VOLUME], name="some unequal"),
        Case(lambda x: F.adaptive_avg_pool3d(x, 2), [_VOLUME], dynamic=[{0: ("n", 1, 4)}], name="dynamic"),
    ],
)
def adaptive_avg_pool3d(b: Builder, n: NodeView) -> Value:
    """As adaptive_avg_pool2d, over depth, height and width."""
    return _mean(b, n, 3)


@register(
    _aten.adaptive_max_pool2d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.adaptive_max_pool2d(x, (2, 7)), [_IMAGE], name="whole windows"),
        Case(lambda x: F.adaptive_max_pool2d(x - 9, (3, 5)), [_IMAGE], name="unequal"),
        Case(lambda x: F.adaptive_max_pool1d(x, 4), [(2, 3, 9)], name="one dimension"),
        Case(
            lambda x: F.adaptive_max_pool2d(torch.relu(torch.round(x)), (3, 5), return_indices=True),
            [_IMAGE],
            name="indices, ties",
        ),
        Case(lambda x: F.adaptive_max_pool2d(x, 3), [_IMAGE], dynamic=[{0: ("n", 1, 4)}], name="dynamic"),
    ],
)
def adaptive_max_pool2d(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Maxima of windows that cover the image evenly, and where they lie."""
    return _largest(b, n, 2)


@register(
    _aten.adaptive_max_pool3d.default,
    keep=True,
    cases=lambda: [
        Case(lambda x: F.adaptive_max_pool3d(x, (2, 7, 3)), [_VOLUME], name="some unequal"),
        Case(lambda x: F.adaptive_max_pool3d(x, (2, 3, 1), return_indices=True), [_VOLUME], name="indices"),
    ],
)
def adaptive_max_pool3d(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As adaptive_max_pool2d, over depth, height and width."""
    return _largest(b, n, 3)
