"""What random chains are made of. Every word gives an expression of a value, or None where it does not apply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from random_graphs import Chain, Draft, Variable

Expression = Callable[[Draft, Variable], str | None]
FLOAT = torch.float32


@dataclass(frozen=True)
class Word:
    """rank: those of the argument that it takes. rounds: the result is not exact. exact: it needs an exact argument
    (a result that jumps must not depend on the last bit). product: multiplies values of the chain."""

    expression: Expression
    rank: range
    dtypes: tuple[torch.dtype, ...]
    rounds: bool
    exact: bool
    product: bool

    def takes(self, v: Variable) -> bool:
        if v.rank not in self.rank or v.dtype not in self.dtypes or (self.exact and not v.exact):
            return False
        return not self.product or v.products == 0 or not v.exact


WORDS: list[Word] = []


def word(
    rank: range = range(6),
    dtypes: tuple[torch.dtype, ...] = (FLOAT,),
    *,
    rounds: bool = False,
    exact: bool = False,
    product: bool = False,
) -> Callable[[Expression], Expression]:
    """Adds a word to the vocabulary."""

    def add(expression: Expression) -> Expression:
        WORDS.append(Word(expression, rank, dtypes, rounds, exact, product))
        return expression

    return add


MIDDLE = ("words_images", "words_movement", "words_pointwise", "words_sums")
"""Modules of the words on plain numbers."""


def draw_chain(draw: Any, longest: int) -> Chain:
    """A chain of up to ``longest`` lines on an input of rank 0 to 5, a third of them with a dynamic size."""
    dynamic = draw(st.integers(0, 2)) == 0
    d = Draft(draw, dynamic)
    rank = d.pick([0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5] if not dynamic else [1, 2, 3, 3, 4, 4, 5])
    dims: list[Any] = [d.integer(1, 5 if rank < 4 else 4) for _ in range(rank)]
    # Square ones hide a wrong order of dimensions, but take other ways through matrix products.
    if d.integer(0, 3) == 0:
        dims = [3] * rank
    if dynamic:
        dims[d.integer(0, rank - 1)] = "n"
    v = d.make(tuple(dims), name="x")
    grow(d, v, longest, MIDDLE)
    if not d.chain.lines:
        d.add("x.relu()", True, 0)
    if dynamic and _is_input(d):
        d.add(f"{d.chain.result} + 1", False, 0)  # a result that is the input's memory has a test of its own
    return d.chain


def grow(d: Draft, v: Variable, longest: int, modules: Sequence[str]) -> Variable:
    """Adds up to ``longest`` lines of words of these modules; the last line's value."""
    wanted = len(d.chain.lines) + (d.integer(1, longest) if longest > 1 else 1)
    for _ in range(3 * (wanted - len(d.chain.lines))):
        if len(d.chain.lines) == wanted:
            break
        # A value that is no float ends most chains soon: few words take it.
        words = [w for w in WORDS if w.expression.__module__ in modules and w.takes(v)]
        if not words:
            break
        chosen = d.pick(words)
        known = len(d.chain.fresh)
        expression = chosen.expression(d, v)
        if expression is None:
            del d.chain.fresh[known:]
            continue
        inputs = [u for u in d.variables if u.name in expression]
        exact = not chosen.rounds and v.exact
        products = max(u.products for u in inputs) + chosen.product
        made = d.add(expression, exact, products, chosen.rounds)
        if made is None:
            del d.chain.fresh[known:]
            continue
        v = made
    return v


def _is_input(d: Draft) -> bool:
    given, result = d.scopes[0]["x"], d.scopes[0][d.chain.result]
    return bool(torch.equal(given.reshape(-1), result.reshape(-1)))
