"""Functions, sums and choices of values that may be infinite, no number, huge or tiny."""

from __future__ import annotations

import torch
from fresh_values import SPECIALS
from random_graphs import Draft, Variable
from vocabulary import word

# torch's own GELU gives NaN for infinity, and ours x: as documented.
ROUNDED = (
    "torch.tanh({})", "torch.sigmoid({})", "F.silu({})", "F.elu({}, 0.7)", "F.softplus({})", "torch.exp({})",
    "torch.log({})", "torch.log2({})", "torch.log1p({})", "torch.sqrt({})", "torch.rsqrt({})", "torch.reciprocal({})",
    "torch.sin({})", "torch.cos({})", "({} / 3)", "F.hardsigmoid({})", "F.hardswish({})", "{} ** 2", "{} ** 3",
    "{} ** 0.5", "{} ** -1", "(2 ** {})", "torch.expm1({})", "torch.erf({})", "F.logsigmoid({})", "F.mish({})",
    "F.selu({})", "F.celu({})", "torch.atan({})", "F.softsign({})", "F.tanhshrink({})", "torch.log10({})",
    "torch.sinh({})", "torch.cosh({})", "torch.asinh({})", "torch.exp2({})", "{} * 1e-30", "{} * 1e30",
)  # fmt: skip
UNROUNDED = (
    "torch.relu({})", "{}.abs()", "(-{})", "F.hardtanh({}, -0.5, 2.0)", "{}.clamp(-1, 1.5)", "{}.clamp(min=-0.25)",
    "{}.clamp(max=2)", "F.leaky_relu({}, 0.25)", "F.relu6({})", "torch.nan_to_num({})",
    "torch.nan_to_num({}, 1.0, 2, -2)", "F.threshold({}, 0.5, 2.0)", "{} * -2", "{} * 0",
)  # fmt: skip
JUMPS = (
    "torch.floor({})", "torch.ceil({})", "torch.round({})", "torch.trunc({})", "torch.sign({})", "torch.isnan({})",
    "torch.isinf({})", "torch.isfinite({})", "{} % 2", "torch.fmod({}, 1.5)", "F.hardshrink({})", "{} != {}",
    "{}.bool()",
)  # fmt: skip


def partner(d: Draft, v: Variable) -> Variable:
    dims = tuple(1 if d.integer(0, 2) == 0 else size for size in v.dims())
    return d.make(dims, weight=d.flag(), values=d.pick(["", "", *SPECIALS]))


@word(rounds=True)
def curve(d: Draft, v: Variable) -> str:
    return str(d.pick(ROUNDED)).format(v)


@word()
def pieces(d: Draft, v: Variable) -> str:
    return str(d.pick(UNROUNDED)).format(v)


@word(exact=True)
def steps(d: Draft, v: Variable) -> str:
    return str(d.pick(JUMPS)).format(v, v)


@word(rounds=True)
def arithmetic(d: Draft, v: Variable) -> str:
    a, b = (v, partner(d, v)) if d.flag() else (partner(d, v), v)
    return f"{a} {d.pick(['+', '-', '*', '/'])} {b}"


@word()
def extremes(d: Draft, v: Variable) -> str:
    a, b = (v, partner(d, v)) if d.flag() else (partner(d, v), v)
    return f"torch.{d.pick(['maximum', 'minimum'])}({a}, {b})"


@word(exact=True)
def comparison(d: Draft, v: Variable) -> str:
    other = d.pick([0, 1e30, "float('inf')"]) if d.flag() else partner(d, v)
    return f"torch.{d.pick(['lt', 'le', 'gt', 'ge', 'eq', 'ne'])}({v}, {other})"


@word()
def selection(d: Draft, v: Variable) -> str:
    mask, other = d.make(v.dims(), dtype=torch.bool), partner(d, v)
    return d.pick(
        [f"torch.where({mask}, {v}, {other})", f"torch.where({mask}, {v}, 0.5)", f"{v}.masked_fill({mask}, -1.5)"]
    )


@word(exact=True)
def own_selection(d: Draft, v: Variable) -> str:
    return d.pick([f"torch.where({v} > 0, {v}, -2.0)", f"torch.where(torch.isnan({v}), 0.0, {v})"])


@word(range(1, 6), rounds=True)
def reduced(d: Draft, v: Variable) -> str:
    name = d.pick(["sum", "mean", "logsumexp", "var"])
    return f"torch.{name}({v}, dim={d.some_dims(v)}, keepdim={d.flag()})"


@word(range(1, 6), rounds=True)
def accumulated(d: Draft, v: Variable) -> str:
    return d.pick(
        [f"torch.cumsum({v}, {d.dim(v)})", f"torch.prod({v}, {d.dim(v)})", f"torch.norm({v}, dim={d.dim(v)})"]
    )


@word(range(1, 6))
def reduced_to_extreme(d: Draft, v: Variable) -> str:
    name = d.pick(["max", "min"])
    return d.pick([f"torch.a{name}({v}, {d.some_dims(v)})", f"torch.{name}({v}, {d.dim(v)}).values", f"{v}.{name}()"])


@word(range(1, 6), exact=True)
def position_of_extreme(d: Draft, v: Variable) -> str:
    name = d.pick(["max", "min"])
    return d.pick([f"torch.arg{name}({v}, {d.dim(v)})", f"torch.{name}({v}, {d.dim(v)}).indices"])


@word(range(1, 6), exact=True)
def sorted_values(d: Draft, v: Variable) -> str:
    dim = d.dim(v)
    if d.flag():
        return f"torch.topk({v}, {d.integer(1, v.least(dim))}, {dim}, {d.flag()}).values"
    stable, part = d.pick([("", "values"), (", stable=True", "values"), (", stable=True", "indices")])
    return f"torch.sort({v}, dim={dim}, descending={d.flag()}{stable}).{part}"


@word(range(1, 6), exact=True)
def place_in_order(d: Draft, v: Variable) -> str:
    return f"torch.argsort({v}, dim={d.dim(v)}, descending={d.flag()}, stable=True)"


@word(range(1, 6), rounds=True)
def softmax_of_limits(d: Draft, v: Variable) -> str:
    return f"F.{d.pick(['softmax', 'log_softmax', 'softmin'])}({v}, dim={d.dim(v)})"


@word(range(2, 5), rounds=True)
def product(d: Draft, v: Variable) -> str | None:
    if not v.static(v.rank - 1):
        return None
    if d.flag():
        return (
            f"F.linear({v}, {d.make((d.integer(1, 4), v.shape[-1]), weight=d.flag(), values=d.pick(['', *SPECIALS]))})"
        )
    return f"{v} @ {d.make((v.shape[-1], d.integer(1, 4)), weight=d.flag(), values=d.pick(['', *SPECIALS]))}"


@word(range(3, 5), rounds=True)
def image(d: Draft, v: Variable) -> str | None:
    if not v.static(1) or not v.static(v.rank - 1):
        return None
    spatial = v.rank - 2
    if d.flag() and v.least(v.rank - 1) > 1 and v.least(2) > 1:
        return f"F.{d.pick(['max', 'avg'])}_pool{spatial}d({v}, 2, 1, {d.integer(0, 1)})"
    weight = d.make((2, v.shape[1], *[d.integer(1, 2)] * spatial), weight=True, values=d.pick(["", *SPECIALS]))
    return f"F.conv{spatial}d({v}, {weight}, None, 1, 1)"


@word(range(1, 6), rounds=True)
def normalised(d: Draft, v: Variable) -> str | None:
    if not v.static(v.rank - 1):
        return None
    return d.pick([f"F.layer_norm({v}, [{v.shape[-1]}], eps=0.1)", f"F.rms_norm({v}, [{v.shape[-1]}], eps=0.1)"])


@word(range(1, 6), dtypes=(torch.bool,))
def some(d: Draft, v: Variable) -> str:
    return f"torch.{d.pick(['any', 'all'])}({v}, dim={d.dim(v)})"


@word(dtypes=(torch.bool,))
def number_of_choice(d: Draft, v: Variable) -> str:
    return d.pick([f"{v}.float()", f"torch.where({v}, {partner(d, v)}, {partner(d, v)})"])
