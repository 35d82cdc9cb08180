"""Unary and binary operations with broadcasting on every dimension, comparisons, selection."""

from __future__ import annotations

import torch
from random_graphs import Dims, Draft, Variable
from vocabulary import word

ROUNDED = (
    "torch.tanh({})", "torch.sigmoid({})", "F.silu({})", "F.gelu({})", "F.gelu({}, approximate='tanh')",
    "F.elu({}, 0.7)", "F.softplus({})", "F.softplus({}, 2.0, 1.0)", "torch.exp({}.clamp(max=3))",
    "torch.log({}.abs() + 0.5)", "torch.log2({}.abs() + 0.5)", "torch.log1p({}.abs())", "torch.sqrt({}.abs() + 0.25)",
    "torch.rsqrt({}.abs() + 0.25)", "torch.reciprocal({}.abs() + 0.5)", "torch.sin({}.clamp(-9, 9))",
    "torch.cos({}.clamp(-9, 9))", "({} / 3)", "F.hardsigmoid({})", "F.hardswish({})",
    "torch.pow({}.abs() + 0.5, 1.5)", "torch.pow({}, 3)", "(2 ** {}.clamp(-4, 4))",
)  # fmt: skip
UNROUNDED = (
    "torch.relu({})", "{}.abs()", "(-{})", "F.hardtanh({}, -0.5, 2.0)", "{}.clamp(-1, 1.5)", "{}.clamp(min=-0.25)",
    "({} + 1)", "(2 - {})", "({} * -2)", "F.leaky_relu({}, 0.25)", "torch.sub({}, 1.5, alpha=2)", "F.relu6({})",
)  # fmt: skip
SUMS = ("({} + {})", "({} - {})", "torch.maximum({}, {})", "torch.minimum({}, {})", "torch.add({}, {}, alpha=2)")
JUMPS = ("torch.floor({})", "torch.ceil({})", "torch.round({})", "torch.trunc({})", "torch.sign({})")


def partner(d: Draft, v: Variable) -> Variable:
    """Something that broadcasts with ``v``: any dimensions one, leading ones missing, or one more in front."""
    dims: Dims = tuple(1 if d.integer(0, 2) == 0 else size for size in v.dims())
    if d.integer(0, 2) == 0:
        dims = dims[d.integer(0, len(dims)) :]
    elif v.rank < 5 and d.integer(0, 4) == 0:
        dims = (2, *dims)
    return d.make(dims, weight=d.flag())


@word(rounds=True)
def smooth(d: Draft, v: Variable) -> str:
    return str(d.pick(ROUNDED)).format(v)


@word()
def linear_pieces(d: Draft, v: Variable) -> str:
    return str(d.pick(UNROUNDED)).format(v)


@word(exact=True)
def jumps(d: Draft, v: Variable) -> str:
    return str(d.pick(JUMPS)).format(v)


@word()
def add_or_extreme(d: Draft, v: Variable) -> str:
    a, b = (str(v), str(partner(d, v)))
    if d.flag():
        a, b = b, a
    how = d.pick(SUMS)
    return str(how).format(a, b)


@word(product=True)
def multiply(d: Draft, v: Variable) -> str:
    other = partner(d, v)
    return f"{other} * {v}" if d.flag() else f"{v} * {other}"


@word(rounds=True)
def divide(d: Draft, v: Variable) -> str:
    other = partner(d, v)
    return f"{v} / ({other}.abs() + 0.5)" if d.flag() else f"{other} / ({v}.abs() + 0.5)"


@word(exact=True)
def compare(d: Draft, v: Variable) -> str:
    name = d.pick(["lt", "le", "gt", "ge", "eq", "ne"])
    return f"torch.{name}({v}, {d.pick([0, 0.5, -1]) if d.flag() else partner(d, v)})"


@word(dtypes=(torch.bool,))
def logic(d: Draft, v: Variable) -> str:
    if d.flag():
        return f"torch.logical_not({v})"
    other = d.make(v.dims(), dtype=torch.bool)
    return f"torch.logical_{d.pick(['and', 'or', 'xor'])}({v}, {other})"


@word(dtypes=(torch.bool,))
def choose(d: Draft, v: Variable) -> str:
    a, b = partner(d, v), partner(d, v)
    return d.pick([f"torch.where({v}, {a}, {b})", f"torch.where({v}, {a}, 0.5)", f"{a}.masked_fill({v}, -1.5)"])


@word(dtypes=(torch.bool,))
def to_float(d: Draft, v: Variable) -> str:
    return f"{v}.to(x.dtype)"


@word(exact=True)
def where(d: Draft, v: Variable) -> str:
    other = partner(d, v)
    otherwise = partner(d, v) if d.flag() else d.pick([0.0, -2.0])
    return f"torch.where({other} > {d.pick([0, -1, 0.5])}, {v}, {otherwise})"


@word(range(1, 6), dtypes=(torch.bool,))
def any_or_all(d: Draft, v: Variable) -> str:
    return f"torch.{d.pick(['any', 'all'])}({v}, dim={d.dim(v)}, keepdim={d.flag()})"
