"""Attention and softmax with masks, of which some hide whole rows."""

from __future__ import annotations

from typing import Any

import torch
from random_graphs import Draft, Variable
from vocabulary import word


def mask(d: Draft, *shapes: tuple[Any, ...]) -> Variable:
    dtype, values = d.pick([(torch.bool, "hidden"), (torch.float32, "hidden"), (torch.float32, "lowest")])
    return d.make(d.pick(shapes), dtype=dtype, values=values, weight=d.integer(0, 3) == 0)


@word(range(3, 5), rounds=True)
def attention(d: Draft, v: Variable) -> str | None:
    """The value as queries, keys or values."""
    if not v.wholly_static:
        return None
    *batch, rows, width = v.shape
    role, other = d.integer(0, 2), d.integer(1, 5)
    keys = rows if role else other
    queries = other if role else rows
    q, k = (*batch, queries, width), (*batch, keys, width)
    given = [d.make(s, values=d.pick(["", "", "", "infinite", "nan", "huge"])) for s in (q, k, k)]
    given[role] = v
    if d.integer(0, 4) == 0:
        extra = "is_causal=True"
    else:
        shapes = [(queries, keys), (*batch, queries, keys), (1, keys), (*[1] * len(batch), queries, keys)]
        if len(batch) == 2:
            shapes += [(batch[0], 1, 1, keys), (batch[0], 1, queries, keys)]
        extra = f"{mask(d, *shapes)}"
    scale = d.pick(["", "", ", scale=0.3", ", scale=1.0"])
    return f"F.scaled_dot_product_attention({given[0]}, {given[1]}, {given[2]}, {extra}{scale})"


@word(range(1, 5), rounds=True)
def masked_softmax(d: Draft, v: Variable) -> str:
    dims = v.dims()
    hidden = mask(d, dims, dims[-1:], (*[1] * (v.rank - 1), dims[-1]))
    name, dim = d.pick(["softmax", "softmax", "log_softmax"]), d.pick([-1, -1, d.dim(v)])
    least = d.pick(["float('-inf')", "float('-inf')", "-1e4", "torch.finfo(torch.float32).min"])
    if hidden.dtype is torch.bool:
        scores = d.pick([f"{v}.masked_fill(~{hidden}, {least})", f"torch.where({hidden}, {v}, {least})"])
    else:
        scores = f"{v} + {hidden}"
    return f"F.{name}({scores}, dim={dim})"


@word(range(1, 5))
def no_rows(d: Draft, v: Variable) -> str:
    hidden = d.make((*v.dims()[:-1], 1), dtype=torch.bool, values="hidden")
    return d.pick([f"{v}.masked_fill({hidden}, 0.0)", f"torch.nan_to_num({v})", f"torch.where({hidden}, {v}, 0.0)"])


@word(range(2, 5), rounds=True)
def weighted(d: Draft, v: Variable) -> str | None:
    if not v.static(v.rank - 1):
        return None
    return f"{v} @ {d.make((v.shape[-1], d.integer(1, 3)), values=d.pick(['', 'infinite', 'nan']))}"


@word(range(1, 5), rounds=True)
def scaled(d: Draft, v: Variable) -> str:
    return d.pick([f"{v} * 0.125", f"{v} / 3", f"{v} * 40", f"{v} - torch.amax({v}, -1, keepdim=True)"])


@word(range(1, 5), rounds=True)
def masked_mean(d: Draft, v: Variable) -> str:
    shown = d.make((*v.dims()[:-1], 1), dtype=torch.bool, values="hidden")
    return f"({v} * {shown}).sum(0) / {shown}.sum(0).clamp(min=1)"
