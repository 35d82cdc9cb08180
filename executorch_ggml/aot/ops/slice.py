"""`slice`, `select` and `narrow`: a range of a dimension, or one entry."""

from __future__ import annotations

import torch

from executorch_ggml.aot import custom_ops  # noqa: F401  (registers the operators named below)
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.node_view import overload_of
from executorch_ggml.aot.registry import Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import Builder, Dim, Kind, Value
from executorch_ggml.ir.dims import simplify

_aten = torch.ops.aten


declare("narrow", bounds=bounds.first)


# Operators that use integers as positions or row indices, and check their range where they are uploaded.
_INDEXED_BY = (
    torch.ops.executorch_ggml.rope.default,
    torch.ops.executorch_ggml.causal_attention.default,
    _aten.embedding.default,
)


def _positions(b: Builder, n: NodeView) -> Value | None:
    """An integer input of which only indexing operators see a part; other integers stay with ExecuTorch."""
    x = n.tensor("self")
    if x.kind is not Kind.INPUT or not x.dtype.is_integer:
        return None
    users = {overload_of(user.target) for user in n.node.users}
    return b.ids(x) if users and users <= set(_INDEXED_BY) else None


def _clamped(value: Dim, size: Dim, what: str) -> Dim:
    """torch's reading of a slice bound: negative counts from the end, then clamped into [0, size]."""
    value, size = simplify(value), simplify(size)
    if isinstance(value, int) and isinstance(size, int):
        if value < 0:
            value += size
        return max(0, min(value, size))
    if isinstance(value, int):
        if value < 0:
            # size + value may be negative only for sizes below |value|; export guards against that.
            return simplify(size + value)
        return value
    return value


@register(
    _aten.slice.Tensor,
    _aten.slice_copy.Tensor,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        *(Case(lambda x, d=d: torch.relu(x.narrow(d, 1, 2)), [(4, 5, 6)], name=f"dim {d}") for d in (0, 1, 2)),
        *(
            Case(
                lambda x, d=d: torch.relu(torch.ops.aten.slice.Tensor(x, d, 1, 9, 2)),
                [(4, 5, 6)],
                name=f"step, dim {d}",
            )
            for d in (0, 1, 2)
        ),
        Case(lambda x: torch.relu(x[..., ::2]), [(2, 3, 4, 6)], name="step, rank 4"),
        Case(lambda x: torch.relu(x[:, -3:]), [(2, 5)], name="negative start"),
        Case(lambda x: torch.relu(x[:, :-2]), [(2, 5)], name="negative end"),
        Case(lambda x: torch.relu(x[:, 3:100]), [(2, 5)], name="beyond"),
        Case(lambda x: torch.relu(x[1:, 2:4][:, 1:]), [(3, 5)], name="twice"),
        Case(lambda x: torch.relu(x.t()[1:3]), [(4, 5)], name="of a transposed"),
        Case(lambda x: torch.relu(x[:, :, 1]), [(2, 3, 4, 5, 2)], name="rank 5"),
        Case(lambda x: torch.relu(x[-1:]), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="last of dynamic"),
        Case(lambda x: torch.relu(x[1:]), [(5, 3)], dynamic=[{0: ("n", 3, 9)}], name="tail of dynamic"),
    ],
)
def slice_(b: Builder, n: NodeView) -> Value:
    """A range along one dimension."""
    x = _positions(b, n) or b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    step = n.integer("step")
    size = x.shape[dim]
    start = _clamped(n.dim("start") if n.has("start") else 0, size, "start")
    length = n.out.shape[dim]
    if step < 1:
        raise Unsupported(f"slice step {step}")
    if not isinstance(start, int) and not n.has("start"):
        raise Unsupported("slice start")
    return b.slice(x, dim, start, length, step)


@register(
    _aten.select.int,
    _aten.select_copy.int,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        *(Case(lambda x, d=d: torch.relu(x.select(d, 2)), [(4, 5, 6)], name=f"dim {d}") for d in (0, 1, 2)),
        Case(lambda x: torch.relu(x[:, -1]), [(3, 5)], name="negative"),
        Case(lambda x: torch.relu(x[-1]), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="last of dynamic"),
    ],
)
def select(b: Builder, n: NodeView) -> Value:
    """One entry along a dimension."""
    x = b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    index = n.dim("index")
    if isinstance(index, int) and index < 0:
        index = simplify(x.shape[dim] + index)
    return b.select(x, dim, index)
