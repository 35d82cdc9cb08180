"""Random chains of torch operations, drawn one line at a time and run eagerly as they grow, so that shapes are known.

A chain is Python source: what a failure prints can be pasted into a test. Dynamic chains have one symbol; they run at
an example size, at the smallest and at the largest one from the first line on, and a size that differs between these
runs is a dynamic one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fresh_values import laid_out, layouts_of, values_of
from hypothesis import strategies as st

EXAMPLE, HIGH = 4, 7
LOWS = (1, 2, 3)
"""torch traces every size as "at least 2": smaller ones are the lowering's own proof."""
MOST_ELEMENTS = 400
MOST_MAGNITUDE = 1e3

Dims = tuple[Any, ...]
"""Sizes of a fresh tensor; "n" is the dynamic one."""


@dataclass
class Variable:
    """One tensor of a chain.

    shapes: one for every size of the chain (one only, if it is static). exact: made from the inputs without
    rounding, so that what is discontinuous (comparisons, rounding) may follow. products: multiplications on the way,
    each of which doubles the digits. sizes: those of the chain.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    exact: bool
    products: int
    sizes: tuple[int, ...]

    def __str__(self) -> str:
        return self.name

    @property
    def rank(self) -> int:
        return len(self.shapes[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return self.shapes[0]

    def static(self, dim: int) -> bool:
        return len({s[dim] for s in self.shapes}) == 1

    def least(self, dim: int) -> int:
        return min(s[dim] for s in self.shapes)

    @property
    def wholly_static(self) -> bool:
        return len(set(self.shapes)) == 1

    def is_n(self, dim: int) -> bool:
        return len(self.shapes) > 1 and tuple(s[dim] for s in self.shapes) == self.sizes

    def dims(self) -> Dims:
        """Sizes that broadcast to this: "n" where it is the symbol, 1 where it is an expression of it."""
        return tuple("n" if self.is_n(d) else self.shape[d] if self.static(d) else 1 for d in range(self.rank))


@dataclass
class Fresh:
    """An input, or a weight if not ``is_input``; values are drawn from ``seed``.

    values: a kind of `fresh_values`, or empty for plain ones. layout: how the example lies in memory. other: how the
    argument of the calls does.
    """

    name: str
    dims: Dims
    dtype: torch.dtype
    high: int
    seed: int
    is_input: bool
    values: str = ""
    layout: str = ""
    other: str = ""

    def tensor(self, n: int, *, called: bool = False) -> torch.Tensor:
        """For the export, or for a call."""
        return laid_out(self._values(n), self.other if called else self.layout, self.seed)

    def _values(self, n: int) -> torch.Tensor:
        """Floats are distinct multiples of 1/64 between -3.2 and 3.2: sums and products of few are exact."""
        shape = [n if d == "n" else d for d in self.dims]
        if self.values:
            return values_of(self.values, shape, self.dtype, self.high, self.seed)
        count = 1
        for size in shape:
            count *= size
        generator = torch.Generator().manual_seed(self.seed)
        if self.dtype is torch.bool:
            return torch.randint(0, 2, shape, generator=generator).bool()
        if not self.dtype.is_floating_point:
            return torch.randint(0, self.high, shape, generator=generator, dtype=self.dtype)
        order = torch.randperm(max(count, MOST_ELEMENTS), generator=generator)[:count]
        return ((order - max(count, MOST_ELEMENTS) // 2).float() / 64).reshape(shape)


@dataclass
class Chain:
    """Source lines over fresh tensors; ``result`` names the value to return; ``low``: smallest dynamic size;
    ``rounding``: lines whose results need not be right to the last bit."""

    dynamic: bool
    fresh: list[Fresh] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    result: str = "x"
    low: int = max(LOWS)
    rounding: frozenset[int] = frozenset()

    @property
    def inputs(self) -> list[Fresh]:
        return [f for f in self.fresh if f.is_input]

    def sizes(self) -> tuple[int, ...]:
        """The first is that of the example that is exported."""
        return (EXAMPLE, self.low, HIGH) if self.dynamic else (EXAMPLE,)

    def prefix(self, count: int) -> Chain:
        """The same chain, ended after ``count`` lines."""
        lines = self.lines[:count]
        text = "\n".join(lines)
        used = [f for f in self.fresh if f.name in text]
        return Chain(self.dynamic, used, lines, lines[-1].split(" = ")[0], self.low, self.rounding)

    def live(self) -> Chain:
        """The lines that the result needs: torch drops the others when a program is lowered."""
        kept, needed = [], {self.result}
        for line in reversed(self.lines):
            name, expression = line.split(" = ", 1)
            if name in needed:
                kept.append(line)
                needed |= set(re.findall(r"\b[vwx]\d*_?\b", expression))
        return Chain(self.dynamic, self.fresh, kept[::-1], self.result, self.low)

    def __str__(self) -> str:
        given = [
            f"# {f.name}: {f.dtype} {f.dims}, high {f.high}, seed {f.seed}, {'input' if f.is_input else 'weight'}"
            + f", {f.values or 'plain'}, layout {f.layout or 'dense'}, called {f.other or 'dense'}"
            for f in self.fresh
        ]
        sizes = [f"# n: {self.low} to {HIGH}"] * self.dynamic
        return "\n".join([*given, *sizes, *self.lines, f"return {self.result}"])


class Draft:
    """A chain being drawn. layouts: of what is fresh, too. wild: any magnitude, and what is not finite."""

    def __init__(self, draw: Callable[[Any], Any], dynamic: bool, *, layouts: bool = False, wild: bool = False) -> None:
        self.layouts, self.wild = layouts, wild
        self.draw = draw
        self.chain = Chain(dynamic)
        if dynamic:
            self.chain.low = self.pick(LOWS)
        self.variables: list[Variable] = []
        self.scopes: list[dict[str, Any]] = [{"torch": torch, "F": F} for _ in self.chain.sizes()]

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def flag(self) -> bool:
        return bool(self.draw(st.booleans()))

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def dim(self, v: Variable) -> int:
        """A dimension, counted from either end."""
        d = self.integer(0, v.rank - 1)
        return d - v.rank if self.flag() else d

    def some_dims(self, v: Variable) -> list[int]:
        """One dimension or several, in any order."""
        order = self.draw(st.permutations(range(v.rank)))
        return [d - v.rank if self.flag() else d for d in order[: self.integer(1, v.rank)]]

    def make(
        self,
        dims: Dims,
        *,
        weight: bool = False,
        dtype: torch.dtype = torch.float32,
        high: int = 1,
        name: str = "",
        values: str = "",
    ) -> Variable:
        """An input or a weight; a weight has no dynamic size."""
        dims = tuple(1 if weight and d == "n" else d for d in dims)
        count = len(self.chain.fresh)
        fresh = Fresh(name or f"{'w' if weight else 'x'}{count}_", dims, dtype, high, self.integer(0, 99), not weight)
        fresh.values = values
        if self.layouts:
            fresh.layout, fresh.other = (self.pick(layouts_of(len(dims))) for _ in range(2))
        self.chain.fresh.append(fresh)
        for scope, n in zip(self.scopes, self.chain.sizes(), strict=True):
            scope[fresh.name] = fresh.tensor(n)
        return self._variable(fresh.name, True, 0)

    def _variable(self, name: str, exact: bool, products: int) -> Variable:
        tensors = [s[name] for s in self.scopes]
        made = Variable(
            name, tuple(tuple(t.shape) for t in tensors), tensors[0].dtype, exact, products, self.chain.sizes()
        )
        self.variables.append(made)
        return made

    def add(self, expression: str, exact: bool, products: int, rounds: bool = False) -> Variable | None:
        """Appends a line, unless its result is empty, large, or (where that is not wanted) not finite."""
        name = f"v{len(self.chain.lines)}"
        results = []
        for scope in self.scopes:
            try:
                value = eval(expression, dict(scope))
            except (RuntimeError, IndexError) as e:
                library = "memory descriptor" in str(e)  # oneDNN does not take these sizes
                if not self.chain.dynamic and not self.wild and not library:
                    raise  # the vocabulary is wrong; with dynamic sizes it need not foresee everything
                return None
            if not 0 < value.numel() <= MOST_ELEMENTS:
                return None
            if not self.wild and not float(value.double().abs().max()) <= MOST_MAGNITUDE:
                return None
            results.append(value)
        if len({r.dim() for r in results}) > 1:
            return None  # a rank that depends on a size being 1
        for scope, value in zip(self.scopes, results, strict=True):
            scope[name] = value
        if rounds:
            self.chain.rounding |= {len(self.chain.lines)}
        self.chain.lines.append(f"{name} = {expression}")
        self.chain.result = name
        return self._variable(name, exact, products)
