"""Operations that rename or move elements."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import strategies as st
from random_graphs import Draft, Variable
from vocabulary import FLOAT, word

ANY = (FLOAT, torch.bool, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


@word(range(2, 6), ANY)
def permute(d: Draft, v: Variable) -> str:
    order = d.draw(st.permutations(range(v.rank)))
    return f"{v}.permute({tuple(order)})" if d.flag() else f"{v}.transpose({d.dim(v)}, {d.dim(v)})"


@word(range(1, 6), ANY)
def cut(d: Draft, v: Variable) -> str | None:
    """Bounds from either end or missing, clamped ones, steps."""
    dim = d.integer(0, v.rank - 1)
    size = v.least(dim)
    start = d.pick(["", d.integer(0, size - 1), -d.integer(1, size), -size - 3])
    stop = d.pick(["", "", d.integer(1, size), -d.integer(1, size), 99])
    step = d.pick(["", "", ":2", ":3"])
    return f"{v}[{':, ' * dim}{start}:{stop}{step}]"


@word(range(1, 6), ANY)
def select(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    return f"{v}.select({dim - v.rank * d.flag()}, {d.integer(-v.least(dim), v.least(dim) - 1)})"


@word(range(5), ANY)
def unsqueeze(d: Draft, v: Variable) -> str:
    return f"{v}.unsqueeze({d.integer(-v.rank - 1, v.rank)})"


@word(range(1, 6), ANY)
def squeeze(d: Draft, v: Variable) -> str:
    static = [i for i in range(v.rank) if v.static(i)]
    if static and d.flag():
        return f"{v}.squeeze({d.pick(static)})"
    ones = tuple(i for i in static if v.shape[i] == 1)
    return f"torch.squeeze({v}, {ones})"


@word(range(2, 6), ANY)
def flatten(d: Draft, v: Variable) -> str:
    first = d.integer(0, v.rank - 2)
    return f"{v}.flatten({first}, {d.integer(first + 1, v.rank - 1)})"


@word(range(1, 5), ANY)
def split_dim(d: Draft, v: Variable) -> str | None:
    dim = d.integer(0, v.rank - 1)
    if not v.static(dim):
        return f"{v}.unflatten({dim}, (-1, 1))"
    factor = d.pick([f for f in range(1, v.shape[dim] + 1) if v.shape[dim] % f == 0])
    return f"{v}.unflatten({dim}, ({factor}, {v.shape[dim] // factor}))"


@word(range(6), ANY)
def reshape(d: Draft, v: Variable) -> str | None:
    """Any other division of the elements; one dynamic size becomes -1."""
    if not v.wholly_static:
        return f"{v}.reshape(-1)" if d.flag() else f"{v}.reshape(1, -1, 1)"
    left = 1
    for size in v.shape:
        left *= size
    sizes = []
    for _ in range(d.integer(0 if left == 1 else 1, 4)):
        sizes.append(d.pick([f for f in range(1, left + 1) if left % f == 0]))
        left //= sizes[-1]
    if left > 1:
        sizes.append(left)
    if sizes and d.flag():
        sizes[d.integer(0, len(sizes) - 1)] = -1
    return f"{v}.reshape({sizes})"


@word(range(1, 5), ANY)
def expand(d: Draft, v: Variable) -> str:
    sizes = [d.integer(2, 3) if v.static(i) and v.shape[i] == 1 else -1 for i in range(v.rank)]
    return f"{v}.expand({[2] * (d.integer(0, 2) == 0) + sizes})"


@word(range(1, 5))
def repeat(d: Draft, v: Variable) -> str:
    return f"{v}.repeat({[2] * (d.integer(0, 2) == 0) + [d.integer(1, 2) for _ in range(v.rank)]})"


@word(range(1, 6))
def cat(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    dims = [n if v.static(i) or v.is_n(i) else None for i, n in enumerate(v.dims())]
    if None in dims:
        parts = [str(v), f"-{v}"]
    else:
        dims[dim] = d.integer(1, 3)
        parts = [str(v), str(d.make(tuple(dims), weight="n" not in dims and d.flag()))]
    if d.flag():
        parts.reverse()
    return f"torch.cat([{', '.join(parts + parts[: d.integer(0, 1)])}], {dim - v.rank * d.flag()})"


@word(range(5))
def stack(d: Draft, v: Variable) -> str:
    return f"torch.stack([{v}, {v} + 1, {v}.abs()], {d.integer(-v.rank - 1, v.rank)})"


@word(range(1, 6))
def split(d: Draft, v: Variable) -> str | None:
    dim = d.integer(0, v.rank - 1)
    if not v.static(dim) or v.shape[dim] < 2:
        return None
    size = v.shape[dim]
    if d.flag():
        return f"{v}.split({d.integer(1, size - 1)}, {dim})[-1]"
    cuts = sorted({0, d.integer(1, size - 1), size})
    return f"{v}.split({[b - a for a, b in pairwise(cuts)]}, {dim})[{d.integer(0, 1)}]"


@word(range(1, 6))
def pad(d: Draft, v: Variable) -> str:
    amounts = [d.integer(0, 2) for _ in range(2 * d.integer(1, min(v.rank, 3)))]
    return f"F.pad({v}, {amounts}, value={d.pick([0.0, 1.5])})"


@word(range(1, 6))
def roll_or_flip(d: Draft, v: Variable) -> str | None:
    dim = d.integer(0, v.rank - 1)
    if not v.static(dim):
        return None
    return d.pick([f"{v}.flip([{dim}])", f"{v}.roll({d.integer(-2, 3)}, {dim})"])


@word(range(1, 5))
def index_select(d: Draft, v: Variable) -> str:
    dim = d.dim(v)
    index = d.make((d.integer(1, 4),), dtype=torch.int64, high=v.least(dim), weight=d.flag())
    return f"{v}.index_select({dim}, {index})"


@word(range(1, 5))
def gather(d: Draft, v: Variable) -> str | None:
    dim = d.integer(0, v.rank - 1)
    sizes = [d.integer(1, v.shape[i]) if v.static(i) else 1 for i in range(v.rank)]
    sizes[dim] = d.integer(1, 4)
    index = d.make(tuple(sizes), dtype=torch.int64, high=v.least(dim))
    return f"{v}.gather({dim}, {index})"


@word(range(1, 5))
def advanced_index(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    index = d.make(d.pick([(3,), (2, 2)]), dtype=torch.int64, high=v.least(dim))
    return f"{v}[{':, ' * dim}{index}]"
