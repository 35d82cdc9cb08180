"""Integers of all widths: arithmetic that wraps around, divisions, shifts, casts."""

from __future__ import annotations

import torch
from random_graphs import Draft, Variable
from vocabulary import word

SMALL = (torch.uint8, torch.int8, torch.int16)
INTEGERS = (*SMALL, torch.int32, torch.int64)
ONE = (
    "({} + 100)", "({} - 1)", "({} * 3)", "(-{})", "{}.abs()", "({} * {})", "(1 - {})", "{}.clamp(3, 100)", "{}.relu()",
    "{}.clamp(min=-2)", "torch.sign({})", "({} ** 2)", "torch.square({})", "torch.rsub({}, 5)", "~{}", "({} & 12)",
    "({} | 3)", "({} ^ 5)", "({} + {})", "{}.clamp(max=7)",
)  # fmt: skip
TWO = (
    "({} + {})", "({} - {})", "({} * {})", "torch.maximum({}, {})", "torch.minimum({}, {})", "({} & {})", "({} | {})",
    "torch.add({}, {}, alpha=3)", "torch.sub({}, {}, alpha=2)", "({} ^ {})", "torch.where({0} > {1}, {0}, {1})",
)  # fmt: skip
DIVIDED = (
    "{} // {}", "{} % {}", "torch.fmod({}, {})", "torch.remainder({}, {})",
    "torch.div({}, {}, rounding_mode='trunc')", "torch.div({}, {}, rounding_mode='floor')",
)  # fmt: skip


def partner(d: Draft, v: Variable, values: str = "wrap") -> Variable:
    dims = tuple(1 if d.integer(0, 2) == 0 else size for size in v.dims())
    dtype = v.dtype if d.integer(0, 2) else d.pick(INTEGERS)
    return d.make(dims[d.integer(0, len(dims)) * (d.integer(0, 2) == 0) :], weight=d.flag(), dtype=dtype, values=values)


@word(dtypes=INTEGERS)
def with_itself(d: Draft, v: Variable) -> str:
    return str(d.pick(ONE)).format(v, v)


@word(dtypes=INTEGERS)
def with_another(d: Draft, v: Variable) -> str:
    a, b = (v, partner(d, v)) if d.flag() else (partner(d, v), v)
    return str(d.pick(TWO)).format(a, b)


@word(dtypes=INTEGERS)
def division(d: Draft, v: Variable) -> str:
    """By a number, or by elements of which none is 0."""
    by = partner(d, v, "divisor") if d.flag() else d.pick([2, 3, 7, 10, -3] if v.dtype is not torch.uint8 else [2, 7])
    return str(d.pick(DIVIDED)).format(v, by)


@word(dtypes=INTEGERS, rounds=True)
def quotient(d: Draft, v: Variable) -> str:
    return f"{v} / {partner(d, v, 'divisor') if d.flag() else d.pick([3, 0.5])}"


@word(dtypes=INTEGERS)
def shift(d: Draft, v: Variable) -> str:
    return f"{v} {d.pick(['<<', '>>'])} {d.integer(0, 6)}"


@word(dtypes=(*INTEGERS, torch.bool))
def cast(d: Draft, v: Variable) -> str:
    return f"{v}.to({d.pick(INTEGERS)})"


@word(dtypes=INTEGERS)
def compare_integers(d: Draft, v: Variable) -> str:
    other = partner(d, v) if d.flag() else d.pick([0, 7, 100, 3.5])
    return f"torch.{d.pick(['lt', 'le', 'gt', 'ge', 'eq', 'ne'])}({v}, {other})"


@word(dtypes=INTEGERS, rounds=True)
def to_float(d: Draft, v: Variable) -> str:
    return f"{v}.float() {d.pick(['/ 3', '* 0.5', '+ 0.25'])}"


@word(range(1, 6), dtypes=(*INTEGERS, torch.bool))
def total_of_integers(d: Draft, v: Variable) -> str:
    dtype = d.pick(["", "", f", dtype={d.pick(INTEGERS)}"])
    return d.pick(
        [f"torch.sum({v}, dim={d.some_dims(v)}, keepdim={d.flag()}{dtype})", f"{v}.sum()", f"{v}.cumsum({d.dim(v)})"]
    )


@word(range(1, 6), dtypes=INTEGERS)
def product_of_integers(d: Draft, v: Variable) -> str:
    return f"torch.prod({v}, {d.dim(v)}, keepdim={d.flag()})"


@word(range(1, 6), dtypes=INTEGERS)
def extreme_of_integers(d: Draft, v: Variable) -> str:
    name = d.pick(["max", "min"])
    dim = f"dim={d.dim(v)}, keepdim={d.flag()}"
    return d.pick([f"torch.a{name}({v}, {dim})", f"torch.{name}({v}, {dim}).values", f"torch.arg{name}({v}, {dim})"])


@word(range(1, 6), dtypes=INTEGERS)
def moved_integers(d: Draft, v: Variable) -> str:
    dim = d.dim(v)
    return d.pick(
        [f"torch.cat([{v}, {v} + 1], {dim})", f"{v}.flip([{dim}])", f"F.pad({v}, (1, 2), value=7)",
         f"torch.stack([{v}, -{v}], {dim})", f"{v}.repeat({[2] * v.rank})", f"{v}.roll(1, {dim})"]
    )  # fmt: skip


@word(dtypes=INTEGERS)
def chosen_integers(d: Draft, v: Variable) -> str:
    other = partner(d, v)
    return d.pick([f"torch.where({other} > 3, {v}, {other})", f"{v}.masked_fill({other} > 3, 9)"])
