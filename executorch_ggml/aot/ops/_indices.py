"""Numbers of rows that the program is given or computes: none may lie outside its table. Registers no operator.

ggml's kernels trust row numbers. Those of an input are checked when a call uploads them, constants now; those that the
graph computes are taken only where their bounds are known to lie inside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from executorch_ggml.aot.bounds import EXACT, Range, of_input
from executorch_ggml.aot.integer_bounds import size_bounds
from executorch_ggml.aot.integer_rules import names_places_of
from executorch_ggml.aot.registry import NodeView
from executorch_ggml.ir.builder import Builder, Dim, GgmlType, Kind, UnaryKind, Unsupported, Value
from executorch_ggml.ir.dims import static


def positions(b: Builder, n: NodeView, raw: Any, table: str, dim: int, from_end: bool) -> Value:
    """An index tensor into one dimension of an argument, as dense I32. ``from_end``: -1 is the last entry."""
    v, rows, least = _operand(n, raw, table, dim)
    if v.kind is Kind.INPUT:
        return b.row_numbers(v, rows, from_end)
    if v.kind is Kind.WEIGHT:
        return b.constant(_inside(b, v, rows, least, from_end), v.dtype, GgmlType.I32)
    limits = _limits(n, raw)
    if v.type is GgmlType.I32 and limits is None:
        return b.contiguous(v)  # from a sort or a search: below the length of the row that was searched
    if limits is not None and limits[0] >= 0 and names_places_of(raw, n.raw(table).meta["val"].shape[dim]):
        least = limits[1] + 1  # of a dimension of unknown size; the places are of that very dimension
    low, high = _checked(limits, least, from_end)
    if v.type is GgmlType.I32 and low >= 0:
        return b.contiguous(v)
    return b.ids(_from_front(b, v, rows, low), rows if low < 0 else high + 1)


def flat_positions(
    b: Builder, n: NodeView, raws: Sequence[Any], table: str, dims: Sequence[int], from_end: bool
) -> tuple[Value, int]:
    """Index tensors of several dimensions as one, and the number of rows that these dimensions have together."""
    pairs = list(zip(raws, dims, strict=True))
    sizes = [static(_operand(n, raw, table, dim)[1], "an indexed dimension") for raw, dim in pairs]
    total = math.prod(sizes)
    if total > EXACT:
        raise Unsupported(f"positions among {total} entries; 2^24 is the limit")
    values = [_operand(n, raw, table, dim)[0] for raw, dim in pairs]
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    if all(v.kind is Kind.WEIGHT for v in values):
        known = [_inside(b, v, size, size, from_end) for v, size in zip(values, sizes, strict=True)]
        flat = sum(k.astype(np.int64) * step for k, step in zip(np.broadcast_arrays(*known), steps, strict=True))
        return b.constant(np.asarray(flat), values[0].dtype, GgmlType.I32), total
    found: Value | None = None
    for v, raw, size, step in zip(values, raws, sizes, steps, strict=True):
        if v.kind is Kind.INPUT:
            at = b.row_numbers(v, size, from_end, GgmlType.F32)
        elif v.kind is Kind.WEIGHT:
            at = b.constant(_inside(b, v, size, size, from_end).astype(np.float32), v.dtype)
        else:
            low, _ = _checked(_limits(n, raw), size, from_end)
            at = _from_front(b, v, size, low)
        at = b.scale(at, float(step))
        found = at if found is None else b.add(found, at)
    assert found is not None
    return b.ids(b.contiguous(found).with_dtype(values[0].dtype), total), total


def _operand(n: NodeView, raw: Any, table: str, dim: int) -> tuple[Value, Dim, int]:
    """The index tensor, the size of the dimension that it is for, and the least value of that size."""
    v = n.value_of(raw)
    if not v.dtype.is_integer:
        raise Unsupported(f"{v.dtype.name.lower()} positions")
    if 0 in v.shape:
        raise Unsupported("no positions")
    rows = n.meta(table).shape[dim]
    if isinstance(rows, int):
        return v, rows, rows
    size = n.raw(table).meta["val"].shape[dim]
    bounds = size_bounds(size) if isinstance(size, torch.SymInt) else None
    return v, rows, 0 if bounds is None else bounds[0]


def _inside(b: Builder, v: Value, rows: Dim, least: int, from_end: bool) -> Any:
    data = b.data_of(v)
    if data is None:
        raise Unsupported("integer constants must be embedded")
    if not data.size:
        raise Unsupported("no positions")
    low, _ = _checked((int(data.min()), int(data.max())), least, from_end)
    return np.where(data < 0, data + static(rows, "constant positions from the end"), data) if low < 0 else data


def _limits(n: NodeView, raw: Any) -> Range | None:
    return of_input(n.node, raw) if isinstance(raw, Node) else None


def _checked(limits: Range | None, least: int, from_end: bool) -> Range:
    if limits is None:
        raise Unsupported("computed positions that nothing bounds")
    if limits[0] < (-least if from_end else 0) or limits[1] >= least:
        raise Unsupported(f"positions of {limits[0]} to {limits[1]}, some outside a dimension of {least}")
    return limits


def _from_front(b: Builder, v: Value, rows: Dim, low: int) -> Value:
    """Integers of the graph as F32, those below zero counted from the front."""
    at = b.f32(v)
    if low >= 0:
        return at
    size = float(static(rows, "positions from the end: the size of their dimension"))
    negative = b.unary(UnaryKind.STEP, b.scale(at, -1.0))
    return b.add(at, b.scale(negative, size)).with_dtype(v.dtype)
