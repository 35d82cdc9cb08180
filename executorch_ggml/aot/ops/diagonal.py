"""`diagonal`: the elements of two dimensions that have the same distance from their origin."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import static

_aten = torch.ops.aten


def _cases() -> list[Case]:
    fn = torch.diagonal
    return [
        Case(lambda x: torch.relu(fn(x)), [(4, 6)]),
        Case(lambda x: torch.relu(fn(x, 2)), [(4, 6)], name="above"),
        Case(lambda x: torch.relu(fn(x, -3)), [(5, 4)], name="below"),
        Case(lambda x: torch.relu(fn(x, -4)), [(5, 4)], name="one element"),
        Case(lambda x: torch.relu(fn(x, 1, 2, 0)), [(3, 2, 4)], name="other dimensions"),
        Case(lambda x: torch.relu(fn(x, 0, -1, 1)), [(2, 3, 4, 5)], name="rank 4"),
        Case(lambda x: torch.relu(fn(x, 0, 1, 3)), [(2, 3, 2, 4, 2)], name="rank 5"),
        Case(lambda x: torch.relu(fn(x.permute(2, 0, 1), 0, 0, 2)), [(3, 4, 5)], name="permuted"),
        Case(lambda x: fn(x / torch.relu(x)), [(5, 5)], name="NaN and infinities"),
        Case(lambda x: x[:, 0] + fn(x > 0.5).to(torch.float32), [(4, 4)], name="of booleans"),
        Case(lambda x: torch.relu(fn(x, 0, 1, 2)), [(5, 3, 4)], dynamic=[{0: ("n", 1, 9)}], name="dynamic batch"),
        Case(lambda x: torch.relu(fn(x)), [(5, 3)], dynamic=[{0: ("n", 4, 9)}], refused="diagonal", name="dynamic"),
        Case(fn, [Arg((4, 4), torch.int64, -9, 9)], refused="int64", name="integers"),
    ]


@register(_aten.diagonal.default, _aten.diagonal_copy.default, moves=True, bounds=bounds.first, cases=_cases)
def diagonal(b: Builder, n: NodeView) -> Value:
    """The last dimension of the result runs along the diagonal of dim1 and dim2."""
    n.require_exact()
    x = b.f32(n.tensor("self"))
    dims = [n.integer("dim1") % x.rank, n.integer("dim2") % x.rank]
    height, width = (static(x.shape[d], "a dimension of the diagonal") for d in dims)
    offset = n.integer("offset")
    row, column = max(0, -offset), max(0, offset)
    count = min(height - row, width - column)
    if count < 1:
        raise Unsupported("an empty diagonal")
    moved = b.contiguous(b.permute(x, [*(d for d in range(x.rank) if d not in dims), *dims]))
    flat = b.reshape(moved, (*moved.shape[:-2], height * width))
    # One step along the diagonal is one row and one column.
    return b.slice(flat, flat.rank - 1, row * width + column, count, width + 1)
