"""Binds dimension symbols to the inputs of a delegate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy

from .ir.builder import Builder
from .ir.dims import INT64_MAX, Dim, free_symbols, simplify
from .ir.serialize import rewrite


def bounds(symbol: Any, ranges: Mapping[Any, Any]) -> tuple[int, int]:
    """Inclusive bounds of a symbol from export's range constraints; unbounded sides are 0 and INT64_MAX.

    A lower bound of 2 becomes 1: torch traces dynamic sizes as "at least 2" and its decompositions forget the 1 that
    the user declared. Nothing in a graph of ours depends on the difference.
    """
    found = ranges.get(symbol)
    low, high = 0, INT64_MAX
    if found is not None:
        low = int(found.lower) if getattr(found.lower, "is_Integer", isinstance(found.lower, int)) else 0
        high = int(found.upper) if getattr(found.upper, "is_Integer", isinstance(found.upper, int)) else INT64_MAX
    return (1 if low == 2 else max(low, 0)), min(high, INT64_MAX)


class SymbolBinder:
    """Decides where each symbol comes from, given (expression, source) of every input dimension and Int argument.

    A bare symbol binds directly. When no input dimension is bare, ``a * s + b`` is solved for ``s``; anything else
    becomes a symbol of its own, which serves wherever the same expression occurs.
    """

    def __init__(self, builder: Builder, ranges: Mapping[Any, Any]) -> None:
        self.builder = builder
        self.ranges = ranges
        self.bound: set[Any] = set()

    def bind(self, dims: Iterable[tuple[Dim, tuple[str, dict[str, int]]]]) -> None:
        """Binds all symbols that the given dimensions determine."""
        pending = [(d, s) for d, s in dims if not isinstance(simplify(d), int)]
        rest = []
        for dim, source in pending:
            if dim.is_Symbol:
                self._bind(dim, source)
            else:
                rest.append((dim, source))
        for dim, source in rest:
            unknown = free_symbols(dim) - self.bound
            if len(unknown) == 1:
                self._solve(dim, unknown.pop(), source)
        for dim, source in rest:
            left = free_symbols(rewrite(dim, self.builder.graph.replacements)) - self.bound
            if left:
                self._opaque(dim, source)

    def _bind(self, symbol: Any, source: tuple[str, dict[str, int]]) -> None:
        if symbol in self.bound:
            return
        low, high = bounds(symbol, self.ranges)
        self.builder.declare_symbol(symbol.name, low, high, source)
        self.bound.add(symbol)

    def _solve(self, dim: Any, unknown: Any, source: tuple[str, dict[str, int]]) -> None:
        if unknown in self.bound or free_symbols(dim) != {unknown}:
            return
        polynomial = sympy.Poly(dim, unknown) if dim.is_polynomial(unknown) else None
        if polynomial is None or polynomial.degree() != 1:
            return
        a, b = polynomial.all_coeffs()
        if not (a.is_Integer and b.is_Integer and a > 0):
            return
        fresh = sympy.Symbol(f"dim{len(self.builder.graph.symbols)}", positive=True, integer=True)
        low, high = bounds(unknown, self.ranges)
        top = INT64_MAX if high == INT64_MAX else int(a * high + b)
        self.builder.declare_symbol(fresh.name, int(a * low + b), top, source)
        # Exact by construction: the input's dimension was a * s + b.
        value = (fresh - b) if a == 1 else sympy.floor((fresh - b) / a)
        self.builder.graph.replacements.append((unknown, value))
        self.bound.update((unknown, fresh))

    def _opaque(self, dim: Any, source: tuple[str, dict[str, int]]) -> None:
        fresh = sympy.Symbol(f"dim{len(self.builder.graph.symbols)}", positive=True, integer=True)
        self.builder.declare_symbol(fresh.name, 0, INT64_MAX, source)
        self.builder.graph.replacements.append((dim, fresh))
        self.bound.add(fresh)
