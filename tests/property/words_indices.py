"""Reads and writes at indices, from the first row to the last and, where torch takes them, counted from the end."""

from __future__ import annotations

import torch
from random_graphs import Draft, Variable
from vocabulary import word


def index(d: Draft, dims: tuple[int, ...], high: int, values: str) -> Variable:
    dtype = d.pick([torch.int64, torch.int64, torch.int32]) if values == "signed" else torch.int64
    return d.make(dims, dtype=dtype, high=high, values=values, weight=d.integer(0, 5) == 0)


def rows(d: Draft, v: Variable, dim: int, count: int) -> tuple[int, ...] | None:
    """The shape of ``v`` with so many rows."""
    return (*v.shape[:dim], count, *v.shape[dim + 1 :]) if v.wholly_static else None


@word(range(1, 5))
def read_rows(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    return f"{v}.index_select({dim - v.rank * d.flag()}, {index(d, (d.integer(1, 4),), v.least(dim), 'index')})"


@word(range(1, 5))
def read_by_brackets(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    where = index(d, d.pick([(3,), (2, 2), (1,)]), v.least(dim), "signed")
    return f"{v}[{':, ' * dim}{where}]"


@word(range(2, 5))
def read_by_two_indices(d: Draft, v: Variable) -> str:
    a, b = (index(d, d.pick([(3,), (1,), (2, 3)]), v.least(i), "signed") for i in (0, 1))
    return f"{v}[{a}, {b}]"


@word(range(1, 5))
def gathered(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    sizes = [d.integer(1, v.least(i)) for i in range(v.rank)]
    sizes[dim] = d.integer(1, 4)
    where = index(d, tuple(sizes), v.least(dim), "index")
    return f"{v}.gather({dim - v.rank * d.flag()}, {where})"


@word(range(2, 3))
def embedded(d: Draft, v: Variable) -> str:
    dims = d.pick([(3,), (2, 3), ()])
    table = v if v.wholly_static and d.flag() else d.make((5, 3), weight=True)
    return f"F.embedding({index(d, dims, table.shape[0], 'index')}, {table})"


@word(range(1, 5))
def written_rows(d: Draft, v: Variable) -> str | None:
    dim = d.integer(0, v.rank - 1)
    name = d.pick(["index_add", "index_copy", "index_fill"])
    count = d.integer(1, v.least(dim))
    where = index(d, (count,), v.least(dim), "index" if name == "index_add" else "distinct:0")
    shape = rows(d, v, dim, count)
    if shape is None:
        return None
    if name == "index_fill":
        return f"{v}.index_fill({dim}, {where}, 1.5)"
    alpha = d.pick(["", ", alpha=2"]) if name == "index_add" else ""
    return f"{v}.{name}({dim - v.rank * d.flag()}, {where}, {d.make(shape)}{alpha})"


@word(range(1, 5))
def put(d: Draft, v: Variable) -> str | None:
    if not v.wholly_static:
        return None
    accumulate = d.flag()
    count = d.integer(1, v.shape[0])
    where = index(d, (count,), v.shape[0], "signed" if accumulate else "distinct:0")
    given = d.make(d.pick([(count, *v.shape[1:]), (1,)]))
    return f"torch.index_put({v}, ({where},), {given}, accumulate={accumulate})"


@word(range(2, 5))
def put_at_points(d: Draft, v: Variable) -> str | None:
    if not v.wholly_static:
        return None
    a, b = (index(d, (3,), v.shape[i], "signed") for i in (0, 1))
    return f"torch.index_put({v}, ({a}, {b}), {d.make((3, *v.shape[2:]))}, accumulate=True)"


@word(range(1, 5))
def scattered(d: Draft, v: Variable) -> str | None:
    if not v.wholly_static:
        return None
    dim = d.integer(0, v.rank - 1)
    sizes = tuple(d.integer(1, size) for size in v.shape)
    how = d.pick(["add", "value", "tensor"])
    where = index(d, sizes, v.shape[dim], "index" if how == "add" else f"distinct:{dim}")
    given = "1.5" if how == "value" else d.make(sizes)
    return f"{v}.scatter{'_add' * (how == 'add')}({dim - v.rank * d.flag()}, {where}, {given})"


@word(range(1, 4))
def one_hot(d: Draft, v: Variable) -> str:
    return f"F.one_hot({index(d, (d.integer(1, 4),), 5, 'index')}, 5).float().sum() + {v}"


@word(range(2, 5))
def along(d: Draft, v: Variable) -> str:
    dim = d.integer(0, v.rank - 1)
    sizes = tuple(2 if i == dim else 1 for i in range(v.rank))
    return f"torch.take_along_dim({v}, {index(d, sizes, v.least(dim), 'index')}, {dim})"
