"""Families of random chains at the edges: layouts, integers, indices, values that are not finite, hidden rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import words_images  # noqa: F401
import words_indices  # noqa: F401
import words_integers
import words_layouts  # noqa: F401
import words_limits  # noqa: F401
import words_masks  # noqa: F401
import words_movement  # noqa: F401
import words_pointwise  # noqa: F401
import words_sums  # noqa: F401
from fresh_values import SPECIALS
from hypothesis import strategies as st
from random_graphs import Chain, Draft, Variable
from vocabulary import MIDDLE, grow

Start = Callable[[Draft, tuple[Any, ...]], Variable]


@dataclass(frozen=True)
class Family:
    """own: modules of words that half of the lines are drawn from. others: those of the other half."""

    start: Start
    own: tuple[str, ...]
    others: tuple[str, ...]
    ranks: tuple[int, ...]
    layouts: bool = False


def plain(d: Draft, dims: tuple[Any, ...]) -> Variable:
    return d.make(dims, name="x")


def integers(d: Draft, dims: tuple[Any, ...]) -> Variable:
    return d.make(dims, name="x", dtype=d.pick((*words_integers.SMALL, *words_integers.INTEGERS)), values="wrap")


def special(d: Draft, dims: tuple[Any, ...]) -> Variable:
    return d.make(dims, name="x", values=d.pick(list(SPECIALS)))


FAMILIES = {
    "layouts": Family(plain, ("words_layouts",), MIDDLE, (1, 2, 3, 4, 4, 4, 4, 5), layouts=True),
    "integers": Family(integers, ("words_integers",), ("words_integers", "words_movement"), (0, 1, 2, 3, 4)),
    "indices": Family(plain, ("words_indices",), ("words_movement", "words_pointwise"), (1, 2, 2, 3, 4)),
    "limits": Family(special, ("words_limits",), ("words_limits", "words_movement"), (0, 1, 2, 3, 3, 4)),
    "masks": Family(plain, ("words_masks",), ("words_masks", "words_movement"), (2, 3, 4, 4)),
}


def draw_edge_chain(draw: Any, family: Family, longest: int) -> Chain:
    dynamic = draw(st.integers(0, 4)) == 0
    d = Draft(draw, dynamic, layouts=family.layouts, wild=True)
    rank = d.pick([r for r in family.ranks if r or not dynamic])
    dims: list[Any] = [d.integer(1, 5 if rank < 4 else 4) for _ in range(rank)]
    if dynamic:
        dims[d.integer(0, rank - 1)] = "n"
    v = family.start(d, tuple(dims))
    for _ in range(d.integer(1, longest)):
        v = grow(d, v, 1, family.own if d.flag() else family.others)
    if not d.chain.lines:
        d.add("torch.cat([x.flatten(), x.flatten()])", True, 0)
    elif dynamic:
        d.add(f"torch.cat([{d.chain.result}.flatten()] * 2)", v.exact, v.products)  # not the memory of an input
    return d.chain
