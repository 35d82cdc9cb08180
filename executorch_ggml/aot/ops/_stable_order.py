"""The order of a stable sort: equal elements keep their order. Registers no operator.

ggml's sort leaves equal elements in any order. An element's place in a stable sort is the number of elements before
it. These numbers are all different, so sorting them is stable.
"""

from __future__ import annotations

import numpy as np

from executorch_ggml.aot.registry import Unsupported
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product

from ._nan import sortable
from .compare import equal, greater, is_number

_MOST = 1 << 22
"""Pairs of elements, each of which is compared: 16 MiB for a value of each."""


_MOST_DYNAMIC = 64
"""Elements of a row, when the number of rows is not known."""


def stable_order(b: Builder, rows: Value, width: int, falling: bool) -> Value:
    """Positions [rows, width] of the elements of F32 rows in rising or falling order; NaN is the largest."""
    count = product(rows.shape[:-1])
    pairs = count * width * width if isinstance(count, int) else 0  # of unknown rows: few in each
    if pairs > _MOST or (not isinstance(count, int) and width > _MOST_DYNAMIC):
        raise Unsupported(f"a stable sort of rows of {width}: it compares each element with each")
    sign = 1.0 if falling else -1.0
    key = b.scale(sortable(b, rows), sign)
    missing = b.scale(b.scale(is_number(b, rows), -1.0, 1.0), sign)  # among equal keys, NaN is beyond infinity
    ahead = b.constant(np.tril(np.ones((width, width), np.float32), -1))
    same_key = _pairwise(b, key, equal_to=True)
    place = b.add(
        _pairwise(b, key),
        b.mul(same_key, b.add(_pairwise(b, missing), b.mul(_pairwise(b, missing, equal_to=True), ahead))),
    )
    return b.argsort(b.contiguous(b.reduce("sum", place, (-1,), False)), descending=False)


def _pairwise(b: Builder, v: Value, equal_to: bool = False) -> Value:
    """[rows, i, j]: whether element j is larger than element i (equal to it)."""
    one, other = b.unsqueeze(v, -1), b.unsqueeze(v, -2)
    shape = (*v.shape, v.shape[-1])
    one, other = b.expand(one, shape), b.expand(other, shape)
    return equal(b, other, one, whole=False) if equal_to else greater(b, other, one)
