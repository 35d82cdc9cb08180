"""Rows in order: shared by `sort` and `topk`. Registers no operator."""

from __future__ import annotations

from executorch_ggml.aot.registry import NodeView
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import product

from ._stable_order import stable_order


def largest(
    b: Builder, x: Value, k: int, sign: float, *, whole: bool = True, stable: bool = False
) -> tuple[Value, Value]:
    """Values and positions of the k largest (smallest: sign -1) of each row [..., n], in order.

    ``whole``: from a sort of the row, as torch.sort has it; else from a selection, as torch.topk has it. ``stable``: k
    is n, and equal elements stay in the order in which they are, on every device.
    """
    rows = b.contiguous(b.f32(x))
    lead, width = rows.shape[:-1], rows.shape[-1]
    flat = b.reshape(rows, (product(lead), width))
    if stable:
        ids = stable_order(b, flat, k, sign > 0)
    else:
        ids = b.argsort(flat, descending=sign > 0) if whole else b.top_k(flat, k, smallest=sign < 0)
    values = b.gather_rows(b.reshape(flat, (product(lead), width, 1)), ids)
    return b.reshape(values, (*lead, k)), b.reshape(b.contiguous(ids), (*lead, k))


def back(b: Builder, n: NodeView, dim: int, values: Value, ids: Value) -> tuple[Value, Value]:
    """Results with rows along the last dimension, moved to ``dim``, in their original type."""
    if dim != values.rank - 1:
        values, ids = b.transpose(values, dim, -1), b.contiguous(b.transpose(ids, dim, -1))
    return (values if n.out.dtype.is_float else values.with_dtype(n.out.dtype)), ids
