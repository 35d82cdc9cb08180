"""Elements put, or combined with the old ones, at the places that an index tensor holds.

`scatter`, `scatter_add`, `scatter_reduce`, `index_reduce`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, ScatterKind, Unsupported, Value
from executorch_ggml.ir.dims import product, same, simplify, static

from ._indices import positions
from .index_put import put

_aten = torch.ops.aten
_KINDS = {
    "sum": ScatterKind.ADD,
    "add": ScatterKind.ADD,
    "mean": ScatterKind.ADD,
    "prod": ScatterKind.MUL,
    "multiply": ScatterKind.MUL,
    "amax": ScatterKind.MAX,
    "amin": ScatterKind.MIN,
}
_START = {ScatterKind.ADD: 0.0, ScatterKind.MUL: 1.0, ScatterKind.MAX: -math.inf, ScatterKind.MIN: math.inf}


@register(_aten.scatter.src, _aten.scatter.value)
def scatter(b: Builder, n: NodeView) -> Value:
    """self with self[..., index[..., j, ...], ...] = src[..., j, ...] along a dimension."""
    return _scattered(b, n, ScatterKind.SET)


@register(_aten.scatter_add.default)
def scatter_add(b: Builder, n: NodeView) -> Value:
    """The same, added."""
    return _scattered(b, n, ScatterKind.ADD)


@register(_aten.scatter.reduce, _aten.scatter.value_reduce, keep=True)
def scatter_reduce_by_name(b: Builder, n: NodeView) -> Value:
    """The same, added or multiplied."""
    return _scattered(b, n, _kind(n))


@register(_aten.scatter_reduce.two, keep=True)
def scatter_reduce(b: Builder, n: NodeView) -> Value:
    """Sums, products, means or extrema of the elements that index names, for each element of self, with or without its
    own."""
    n.require_float()
    index = _Index(b, n)
    x, src = b.f32(n.tensor("self")), index.cut(b, b.f32(n.tensor("src")))
    return _reduced(b, n, x, src, lambda kind, old, new: index.put(b, kind, old, new))


@register(_aten.index_reduce.default, keep=True)
def index_reduce(b: Builder, n: NodeView) -> Value:
    """The same for whole slices."""
    n.require_float()
    x, source = b.f32(n.tensor("self")), b.f32(n.tensor("source"))
    if x.rank == 0:
        raise Unsupported("positions in a single number")
    dim = n.integer("dim") % x.rank
    ids = positions(b, n, n.raw("index"), "self", dim, from_end=False)
    ids = b.reshape(ids, (ids.numel,))
    return _reduced(b, n, x, source, lambda kind, old, new: put(b, kind, old, [dim], ids, x.shape[dim], new))


def _reduced(
    b: Builder, n: NodeView, x: Value, src: Value, place: Callable[[ScatterKind, Value, Value], Value]
) -> Value:
    kind, own = _kind(n), n.flag("include_self")
    old = x if own else place(ScatterKind.SET, x, b.fill(_START[kind], src.shape))
    result = place(kind, old, src)
    if n.text("reduce") != "mean":
        return result
    ones = b.fill(1.0, src.shape)
    count = place(ScatterKind.ADD, b.fill(1.0 if own else 0.0, x.shape), ones)
    return b.binary(BinaryKind.DIV, result, b.clamp(count, minimum=1.0))


def _kind(n: NodeView) -> ScatterKind:
    name = n.text("reduce")
    if name not in _KINDS:
        raise Unsupported(f"a scatter with the reduction {name}")
    return _KINDS[name]


def _scattered(b: Builder, n: NodeView, kind: ScatterKind) -> Value:
    n.require_float()
    index = _Index(b, n)
    if not n.takes("src"):
        values = b.fill(n.number("value"), index.ids.shape)
    else:
        values = index.cut(b, b.f32(n.tensor("src")))
    return index.put(b, kind, b.f32(n.tensor("self")), values)


class _Index:
    """The numbers, and the dimension that they are numbers of."""

    def __init__(self, b: Builder, n: NodeView) -> None:
        rank = n.meta("self").rank
        self.dim = n.integer("dim") % max(rank, 1)
        if rank == 0 or n.meta("index").rank != rank:
            raise Unsupported(f"an index of rank {n.meta('index').rank} into a tensor of rank {rank}")
        self.ids = positions(b, n, n.raw("index"), "self", self.dim, from_end=False)

    def cut(self, b: Builder, values: Value) -> Value:
        """As much of the values as there are numbers."""
        for d, size in enumerate(self.ids.shape):
            if not same(values.shape[d], size):
                values = b.slice(values, d, 0, size)
        return values

    def put(self, b: Builder, kind: ScatterKind, x: Value, values: Value) -> Value:
        """x with the values, one for each number."""
        for d, size in enumerate(self.ids.shape):
            if d != self.dim and not same(x.shape[d], size):
                static(size, "an index that is smaller than the tensor")
                static(x.shape[d], "a tensor that is larger than its index")
                touched = self.put(b, kind, b.slice(x, d, 0, size), values)
                return b.concat([touched, b.slice(x, d, size, simplify(x.shape[d] - size))], d)
        lead, tail = product(x.shape[: self.dim]), product(x.shape[self.dim + 1 :])
        count = self.ids.shape[self.dim]
        old = b.reshape(b.contiguous(x), (lead, x.shape[self.dim], tail))
        new = b.reshape(b.contiguous(values), (lead, count, tail))
        ids = b.reshape(b.contiguous(self.ids), (lead, count, tail))
        return b.reshape(b.scatter(kind, old, new, ids), x.shape)
