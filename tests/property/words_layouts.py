"""Layouts in memory, asked for in the middle of a chain."""

from __future__ import annotations

from random_graphs import Draft, Variable
from vocabulary import word
from words_movement import ANY

FORMATS = {4: "torch.channels_last", 5: "torch.channels_last_3d"}


def memory_format(d: Draft, v: Variable) -> str:
    return str(d.pick(["torch.contiguous_format", *[FORMATS.get(v.rank, "torch.preserve_format")] * 3]))


@word(range(6), ANY)
def contiguous(d: Draft, v: Variable) -> str:
    if v.rank not in FORMATS:
        return f"{v}.contiguous()"
    return f"{v}.contiguous(memory_format={memory_format(d, v)})"


@word(range(1, 6), ANY)
def converted(d: Draft, v: Variable) -> str:
    return f"{v}.to(memory_format={memory_format(d, v)})"


@word(range(6), ANY)
def cloned(d: Draft, v: Variable) -> str:
    return d.pick([f"{v}.clone(memory_format={memory_format(d, v)})", f"{v}.clone()"])


@word(range(1, 6))
def alike(d: Draft, v: Variable) -> str:
    name = d.pick(["zeros", "ones"])
    return f"torch.{name}_like({v}, memory_format={memory_format(d, v)}) + {v}"


@word(range(2, 6), ANY)
def dense_in_another_order(d: Draft, v: Variable) -> str:
    a, b = d.dim(v), d.dim(v)
    return f"{v}.transpose({a}, {b}).contiguous()" + d.pick(["", f".transpose({a}, {b})"])


@word(range(4, 5))
def image_last(d: Draft, v: Variable) -> str:
    """An image the way that numpy and TensorFlow write it, and back."""
    return d.pick([f"{v}.permute(0, 2, 3, 1)", f"{v}.permute(0, 3, 1, 2)", f"{v}.permute(0, 2, 3, 1).contiguous()"])
