"""Slices, picks, splits, concatenation and padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from executorch_ggml.aot import custom_ops  # noqa: F401  (registers the operators named below)
from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.node_view import overload_of
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, declare, register
from executorch_ggml.ir.builder import Builder, Dim, Kind, Value
from executorch_ggml.ir.dims import simplify, static

from . import _axis

declare("narrow", bounds=bounds.first)


_aten = torch.ops.aten


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


def _split(b: Builder, x: Value, dim: int, sizes: list[Dim]) -> tuple[Value | None, ...]:
    parts: list[Value | None] = []
    start: Dim = 0
    for size in sizes:
        parts.append(b.slice(x, dim, start, size))
        start = simplify(start + size)
    return tuple(parts)


@register(
    _aten.split_with_sizes.default,
    _aten.split_with_sizes_copy.default,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: [torch.relu(p) for p in x.split([1, 2, 3], dim=1)], [(2, 6)]),
        Case(lambda x: torch.relu(x.split([1, 2, 3], dim=0)[1]), [(6, 2, 2)], name="one used"),
    ],
)
def split_with_sizes(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Pieces of given sizes."""
    x = b.decided(n.tensor("self"))
    return _split(b, x, n.integer("dim") % x.rank, list(n.dims("split_sizes")))


@register(
    _aten.split.Tensor,
    _aten.split_copy.Tensor,
    _aten.chunk.default,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [
        Case(lambda x: [torch.relu(p) for p in x.split(2, dim=1)], [(2, 5)]),
        Case(lambda x: [torch.relu(p) for p in x.chunk(3, dim=-1)], [(2, 6)], name="chunk"),
    ],
)
def split(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Pieces of equal size (the last may be smaller)."""
    x = b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    return _split(b, x, dim, [o.shape[dim] for o in n.outs])


@register(
    _aten.unbind.int,
    _aten.unbind_copy.int,
    moves=True,
    bounds=bounds.first,
    cases=lambda: [Case(lambda x: [torch.relu(p) for p in x.unbind(1)], [(2, 3, 4)])],
)
def unbind(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Every entry along a dimension."""
    x = b.decided(n.tensor("self"))
    dim = n.integer("dim") % x.rank
    return tuple(b.select(x, dim, i) for i in range(static(x.shape[dim], "unbind")))


@register(
    _aten.cat.default,
    bounds=bounds.union_of_list,
    flops=flops.nothing,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x, y: torch.cat([x, y], 0), [(2, 3), (4, 3)]),
        Case(lambda x, y: torch.cat([x, y, x], -1), [(2, 3), (2, 5)], name="three"),
        Case(lambda x, y: torch.cat([x.t(), y], 1), [(3, 2), (2, 5)], name="transposed"),
        Case(lambda x, y: torch.cat([x, y], 1), [(2, 3, 4, 5), (2, 1, 4, 5)], name="rank 4"),
        Case(lambda x, y: torch.cat([x, y], 2), [(2, 3, 1, 2, 2), (2, 3, 4, 2, 2)], name="rank 5"),
        Case(lambda x, y: torch.cat([x, y], 0), [(5, 3), (2, 3)], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
        Case(lambda x, y: torch.cat([x, y], 0), [(0,), (2, 3)], name="legacy empty"),
        Case(lambda x, y: torch.cat([x, y], 0), [Arg((2,), torch.int64, 0, 9)] * 2, refused="int64", name="int"),
    ],
)
def cat(b: Builder, n: NodeView) -> Value:
    """Tensors one after the other along a dimension."""
    n.require_exact()
    parts = [v for v in n.tensors("tensors") if v.shape != (0,)]
    return b.concat(parts, n.integer("dim") % n.out.rank)


@register(
    _aten.stack.default,
    bounds=bounds.union_of_list,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x, y: torch.stack([x, y], 0), [(2, 3), (2, 3)]),
        Case(lambda x, y: torch.stack([x, y], -1).flatten(-2), [(2, 3, 4), (2, 3, 4)], name="interleave"),
        Case(lambda x, y: torch.stack([x, y], -1), [(2, 3, 4, 2), (2, 3, 4, 2)], name="to rank 5"),
    ],
)
def stack(b: Builder, n: NodeView) -> Value:
    """Tensors along a new dimension."""
    n.require_exact()
    dim = n.integer("dim") % n.out.rank
    return b.concat([b.unsqueeze(b.f32(v), dim) for v in n.tensors("tensors")], dim)


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
