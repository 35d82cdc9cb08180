"""One axis of a tensor at a time: fetching positions, pooling, zeros between and around. Registers no operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from executorch_ggml.ir.builder import Builder, Dim, DType, GgmlType, Unsupported, Value, conv_size
from executorch_ggml.ir.dims import product, same, simplify, static

# A literal of row numbers must fit into the graph itself (4 kB): only there can the loader check its range.
MAX_POSITIONS = 1024


def as_three(b: Builder, x: Value, dim: int) -> Value:
    """x as [before, n, after], n being the size of ``dim``; dense."""
    return b.reshape(b.contiguous(b.f32(x)), (product(x.shape[:dim]), x.shape[dim], product(x.shape[dim + 1 :])))


def gather(b: Builder, x: Value, dim: int, positions: Sequence[int]) -> Value:
    """``x`` at constant positions of one dimension, in that order.

    Raises:
        Unsupported: more than MAX_POSITIONS of them.
    """
    if len(positions) > MAX_POSITIONS:
        raise Unsupported(f"{len(positions)} positions along one dimension; {MAX_POSITIONS} is the limit")
    shape = (*x.shape[:dim], len(positions), *x.shape[dim + 1 :])
    if list(positions) == list(range(static(x.shape[dim], "size"))):
        return x
    rows = as_three(b, x, dim)
    ids = b.constant(np.array([positions], dtype=np.int32), DType.INT64, GgmlType.I32)
    ids = b.expand(ids, (rows.shape[0], len(positions)))
    return b.reshape(b.gather_rows(rows, ids), shape)


def pool(b: Builder, x: Value, dim: int, maximum: bool, kernel: int, stride: int, padding: int = 0) -> Value:
    """Maximum or mean (padding counted) of windows along one dimension; incomplete windows are dropped."""
    if (kernel, stride, padding) == (1, 1, 0):
        return x
    pooled = b.pool_2d(as_three(b, x, dim), maximum, [kernel, 1], [stride, 1], [padding, 0])
    return b.reshape(pooled, (*x.shape[:dim], pooled.shape[1], *x.shape[dim + 1 :]))


def stretch(b: Builder, x: Value, dim: int, step: int) -> Value:
    """``step - 1`` zeros after every entry along one dimension."""
    if step == 1:
        return x
    rows = as_three(b, x, dim)
    before, n, after = rows.shape
    spread = b.pad_zeros(b.reshape(rows, (before, n, 1, after)), [0] * 4, [0, 0, step - 1, 0])
    return b.reshape(spread, (*x.shape[:dim], simplify(n * step), *x.shape[dim + 1 :]))


def pad(b: Builder, x: Value, dim: int, before: int, after: int) -> Value:
    """Zeros around one dimension; negative widths crop."""
    cut_before, cut_after = max(0, -before), max(0, -after)
    if cut_before or cut_after:
        x = b.slice(x, dim, cut_before, simplify(x.shape[dim] - cut_before - cut_after))
    before, after = max(0, before), max(0, after)
    if not before and not after:
        return x
    padded = b.pad_zeros(as_three(b, x, dim), [0, before, 0], [0, after, 0])
    return b.reshape(padded, (*x.shape[:dim], padded.shape[1], *x.shape[dim + 1 :]))


def edges(b: Builder, x: Value, dim: int, before: int, after: int) -> Value:
    """The first entry of one dimension ``before`` times more, the last one ``after`` times."""
    parts = [x]
    for place, width, start in ((0, before, 0), (len(parts), after, simplify(x.shape[dim] - 1))):
        if width:
            entry = b.slice(x, dim, start, 1)
            shape = (*x.shape[:dim], width, *x.shape[dim + 1 :])
            parts.insert(len(parts) if place else 0, b.expand(entry, shape))
    return concat(b, parts, dim)


def concat(b: Builder, parts: Sequence[Value], dim: int) -> Value:
    """Concatenation in pairs: each element is copied log2(n) times, not n/2 times as from left to right."""
    parts = list(parts)
    while len(parts) > 1:
        parts = [b.concat(parts[i : i + 2], dim) for i in range(0, len(parts), 2)]
    return parts[0]


def open_end(size: Dim, out: Dim, kernel: int, stride: int, padding: int) -> int:
    """Entries to add behind a dimension so that pooling gives ``out`` results or more; 0 where it gives as many.

    With one fewer than the stride every window that begins inside is complete, for every size.
    """
    return 0 if same(conv_size(size, kernel, stride, padding, 1), out) else stride - 1


def sizes(shape: Sequence[Dim], what: str) -> list[int]:
    """Dimensions as ints; raises Unsupported when one is dynamic."""
    return [static(d, what) for d in shape]
