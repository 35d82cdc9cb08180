"""Reductions, normalisations and matrix products."""

from __future__ import annotations

import torch
from random_graphs import Draft, Variable
from vocabulary import word


@word(range(1, 6))
def total(d: Draft, v: Variable) -> str:
    name = d.pick(["sum", "amax", "amin"])
    return f"torch.{name}({v}, dim={d.some_dims(v)}, keepdim={d.flag()})"


@word(range(1, 6), rounds=True)
def average(d: Draft, v: Variable) -> str:
    return f"torch.mean({v}, dim={d.some_dims(v)}, keepdim={d.flag()})"


@word(range(1, 6), rounds=True)
def variance(d: Draft, v: Variable) -> str:
    return f"torch.var({v}, dim={d.some_dims(v)}, correction=0, keepdim={d.flag()})"


@word(range(6), rounds=True)
def of_everything(d: Draft, v: Variable) -> str:
    return f"{v}.{d.pick(['sum', 'mean', 'amax'])}()"


@word(range(1, 6), exact=True)
def position(d: Draft, v: Variable) -> str:
    return f"torch.{d.pick(['argmax', 'argmin'])}({v}, dim={d.dim(v)}, keepdim={d.flag()})"


@word(range(1, 6))
def extreme(d: Draft, v: Variable) -> str:
    return f"torch.{d.pick(['max', 'min'])}({v}, dim={d.dim(v)}, keepdim={d.flag()}).values"


@word(range(1, 6))
def cumsum(d: Draft, v: Variable) -> str:
    return f"torch.cumsum({v}, {d.dim(v)})"


@word(range(1, 6), rounds=True)
def softmax(d: Draft, v: Variable) -> str:
    return f"F.{d.pick(['softmax', 'log_softmax'])}({v}, dim={d.dim(v)})"


@word(range(1, 6), rounds=True)
def layer_norm(d: Draft, v: Variable) -> str | None:
    static = 0
    while static < v.rank and v.static(v.rank - 1 - static):
        static += 1
    if not static:
        return None
    shape = list(v.shape[v.rank - d.integer(1, static) :])
    # Near zero variance the result is rounding, magnified.
    weight = d.make(tuple(shape), weight=True) if d.flag() else None
    bias = d.make(tuple(shape), weight=True) if weight and d.flag() else None
    return f"F.layer_norm({v}, {shape}, {weight}, {bias}, eps=0.1)"


@word(range(2, 5), rounds=True)
def group_norm(d: Draft, v: Variable) -> str | None:
    if not v.static(1):
        return None
    groups = d.pick([g for g in range(1, v.shape[1] + 1) if v.shape[1] % g == 0])
    weight = d.make((v.shape[1],), weight=True) if d.flag() else None
    return f"torch.group_norm({v}, {groups}, {weight}, None, 0.1)"


@word(range(1, 6), product=True)
def linear(d: Draft, v: Variable) -> str | None:
    if not v.static(v.rank - 1):
        return None
    out = d.integer(1, 5)
    weight = d.make((out, v.shape[-1]), weight=d.flag())
    bias = d.make((out,), weight=True) if d.flag() else None
    return f"F.linear({v}, {weight}, {bias})"


@word(range(1, 6), product=True)
def matmul(d: Draft, v: Variable) -> str | None:
    """Vectors, matrices, and batches that broadcast; the value on either side, or with its own transpose."""
    if v.rank > 1 and d.integer(0, 3) == 0:
        return f"{v} @ {v}.transpose(-1, -2)"
    right = d.flag()
    inner_dim = -1 if not right or v.rank == 1 else -2
    inner = v.dims()[inner_dim]
    if inner == 1 and not v.static(v.rank + inner_dim):
        return None
    batch = tuple(1 if d.integer(0, 2) == 0 else n for n in v.dims()[:-2])
    batch = batch[d.integer(0, len(batch)) :] if d.flag() else batch
    shape = (
        (inner,)
        if d.integer(0, 3) == 0
        else (*batch, d.integer(1, 4), inner)
        if right
        else (*batch, inner, d.integer(1, 4))
    )
    other = d.make(shape, weight="n" not in shape and d.flag())
    return f"{other} @ {v}" if right else f"{v} @ {other}"


@word(range(3, 4), product=True)
def bmm(d: Draft, v: Variable) -> str | None:
    dims = v.dims()
    if not all(v.static(i) or v.is_n(i) for i in (0, 2)):
        return None
    other = d.make((dims[0], dims[2], d.integer(1, 4)))
    return f"torch.bmm({v}, {other})"


@word(range(2, 3), product=True)
def addmm(d: Draft, v: Variable) -> str | None:
    if not v.static(1):
        return None
    out = d.integer(1, 4)
    bias, other = d.make((out,), weight=True), d.make((v.shape[1], out), weight=d.flag())
    return f"torch.addmm({bias}, {v}, {other}, beta={d.pick([1, 2])}, alpha={d.pick([1, -0.5])})"


@word(range(2, 3), exact=True)
def embedding(d: Draft, v: Variable) -> str | None:
    if not v.wholly_static:
        return None
    index = d.make(d.pick([(3,), (2, 3)]), dtype=torch.int64, high=v.shape[0])
    return f"F.embedding({index}, {v})"
