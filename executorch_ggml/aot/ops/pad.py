"""Borders: `constant_pad_nd`, and those that continue the contents.

`reflection_pad1d`, `reflection_pad2d` and `reflection_pad3d` mirror them. `replication_pad1d`, `replication_pad2d` and
`replication_pad3d` repeat the first and last entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Dim, Value
from executorch_ggml.ir.dims import simplify

from . import _axis

_aten = torch.ops.aten


_REFLECT = (_aten.reflection_pad1d, _aten.reflection_pad2d, _aten.reflection_pad3d)


_REPLICATE = (_aten.replication_pad1d, _aten.replication_pad2d, _aten.replication_pad3d)


_IMAGE = (2, 3, 6, 7)


def _cases(operators: Sequence[Any]) -> list[Case]:
    def by(*widths: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: operators[len(widths) // 2 - 1](x, widths)

    sides = [{2: ("h", 3, 9), 3: ("w", 3, 9)}]
    return [
        Case(by(1, 2), [(2, 3, 7)], name="signal"),
        Case(by(0, 2), [(3, 7)], dynamic=[{1: ("n", 3, 9)}], name="dynamic signal without a batch"),
        Case(by(1, 2, 2, 0), [_IMAGE], name="image"),
        Case(by(1, 2, 2, 0), [_IMAGE], dynamic=sides, name="dynamic image"),
        Case(by(1, 1, 1, 1), [_IMAGE], dynamic=[{0: ("n", 1, 4), **sides[0]}], name="all dynamic"),
        Case(lambda x: by(1, 1, 1, 1)(x.permute(0, 3, 1, 2)), [(2, 5, 6, 3)], name="channels last"),
        Case(by(1, 0, 2, 1, 0, 1), [(1, 2, 4, 5, 3)], name="volume"),
        Case(by(1, 0, 2, 1, 0, 1), [(1, 2, 4, 5, 3)], dynamic=[{2: ("d", 3, 6)}], name="dynamic volume"),
    ]


def _pad(b: Builder, n: NodeView, border: Callable[[Builder, Value, int, int, int], Value]) -> Value:
    n.require_float()
    x = b.f32(n.tensor("self"))
    widths = n.integers("padding")
    if min(widths) < 0:
        raise Unsupported("a border of negative width")
    for i in range(len(widths) // 2):
        x = border(b, x, x.rank - 1 - i, widths[2 * i], widths[2 * i + 1])
    return x


def _reflected(b: Builder, x: Value, dim: int, before: int, after: int) -> Value:
    size = x.shape[dim]
    if isinstance(size, int) and size + before + after <= _axis.MAX_POSITIONS:
        positions = [*range(before, 0, -1), *range(size), *range(size - 2, size - 2 - after, -1)]
        return _axis.gather(b, x, dim, positions)
    parts = [
        *_mirrored(b, x, dim, 1, before),
        x,
        *_mirrored(b, x, dim, simplify(size - 1 - after), after),
    ]
    return _axis.concat(b, parts, dim)


def _mirrored(b: Builder, x: Value, dim: int, start: Dim, width: int) -> Sequence[Value]:
    if not width:
        return []
    return [_axis.gather(b, b.slice(x, dim, start, width), dim, list(range(width - 1, -1, -1)))]


@register(_aten.reflection_pad1d.default, keep=True, cases=lambda: _cases(_REFLECT))
@register(_aten.reflection_pad2d.default, keep=True)
@register(_aten.reflection_pad3d.default, keep=True)
def reflection_pad(b: Builder, n: NodeView) -> Value:
    """Mirror images, without the entry at the edge."""
    return _pad(b, n, _reflected)


@register(_aten.replication_pad1d.default, keep=True, cases=lambda: _cases(_REPLICATE))
@register(_aten.replication_pad2d.default, keep=True)
@register(_aten.replication_pad3d.default, keep=True)
def replication_pad(b: Builder, n: NodeView) -> Value:
    """The entry at the edge, again."""
    return _pad(b, n, _axis.edges)


@register(
    _aten.constant_pad_nd.default,
    cases=lambda: [
        Case(lambda x: F.pad(x, (1, 2)), [(3, 5)]),
        Case(lambda x: F.pad(x, (1, 2), value=4.5), [(3, 5)], name="value"),
        Case(lambda x: F.pad(x, (0, 0, 2, 1), value=-1.0), [(2, 3, 5)], name="rows"),
        Case(lambda x: F.pad(x, (1, 1, 2, 0, 0, 3)), [(2, 3, 4, 5)], name="three"),
        Case(lambda x: F.pad(x, (-1, 2)), [(3, 5)], name="crop"),
        Case(lambda x: F.pad(x, (1, -2, -1, 1), value=2.0), [(3, 5)], name="crop and value"),
        Case(lambda x: F.pad(x, (1, 0)), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: F.pad(x.t(), (1, 0)), [(5, 3)], name="transposed"),
        Case(lambda x: F.pad(x, (1, 2, 0, 1, 2, 1)), [(2, 1, 4, 5, 3)], dynamic=[{3: ("n", 1, 9)}], name="volumes"),
    ],
)
def constant_pad_nd(b: Builder, n: NodeView) -> Value:
    """A border of one value; negative widths crop."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    pad = n.integers("pad")
    value = n.number("value")
    before, after = [0] * x.rank, [0] * x.rank
    for i in range(len(pad) // 2):
        dim = x.rank - 1 - i
        before[dim], after[dim] = pad[2 * i], pad[2 * i + 1]
    for dim in range(x.rank):
        crop_front, crop_back = max(0, -before[dim]), max(0, -after[dim])
        if crop_front or crop_back:
            x = b.slice(x, dim, crop_front, simplify(x.shape[dim] - crop_front - crop_back))
    before, after = [max(0, v) for v in before], [max(0, v) for v in after]
    if value == 0.0:
        if x.rank <= 4:
            return b.pad_zeros(x, before, after)
        for dim in range(x.rank):
            x = _axis.pad(b, x, dim, before[dim], after[dim])
        return x
    # ggml pads with zeros: other values are concatenated.
    for dim in range(x.rank):
        parts = [x]
        if before[dim]:
            parts.insert(0, b.fill(value, (*x.shape[:dim], before[dim], *x.shape[dim + 1 :])))
        if after[dim]:
            parts.append(b.fill(value, (*x.shape[:dim], after[dim], *x.shape[dim + 1 :])))
        if len(parts) > 1:
            x = b.concat(parts, dim)
    return x
