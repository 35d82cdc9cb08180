"""Binds dimension symbols to the inputs of a delegate."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import sympy
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from .ir.builder import Builder
from .ir.dims import INT64_MAX, Dim, free_symbols, simplify
from .ir.serialize import rewrite


def bounds(symbol: Any, ranges: Mapping[Any, Any]) -> tuple[int, int]:
    """Inclusive bounds of a symbol from export's range constraints; unbounded sides are 0 and INT64_MAX."""
    found = ranges.get(symbol)
    low, high = 0, INT64_MAX
    if found is not None:
        low = int(found.lower) if getattr(found.lower, "is_Integer", isinstance(found.lower, int)) else 0
        high = int(found.upper) if getattr(found.upper, "is_Integer", isinstance(found.upper, int)) else INT64_MAX
    return max(low, 0), min(high, INT64_MAX)


def _minima(low: int, high: int, source: tuple[str, dict[str, int]]) -> tuple[int, int | None]:
    """The minimum to declare, and a smaller one to declare instead if the finished graph holds there.

    torch traces dynamic sizes as "at least 2", and ExecuTorch's passes take the ranges from the tracer: the 1 (or 0)
    that the user declared does not reach a partition, and a 2 that does says nothing. A size below 2 that reaches one
    was not checked by torch either.
    """
    if source[0] == "FromInputDim" and low < 2:
        low = min(2, high)
    return low, 1 if low == 2 else None


class SymbolBinder:
    """Decides where each symbol comes from, given (expression, source) of every input dimension and Int argument.

    A bare symbol binds directly. When no input dimension is bare, ``a * s + b`` is solved for ``s`` (by the runtime);
    anything else becomes a symbol of its own, which serves wherever the same expression occurs. ``may_be_empty``: names
    of symbols that the program was exported with a minimum of 0 for.
    """

    def __init__(self, builder: Builder, ranges: Mapping[Any, Any], may_be_empty: Collection[str] = ()) -> None:
        self.builder = builder
        self.ranges = ranges
        self.may_be_empty = may_be_empty
        self.bound: set[Any] = set()

    def bind(self, dims: Iterable[tuple[Dim, tuple[str, dict[str, int]]]]) -> None:
        """Binds all symbols that the given dimensions determine."""
        pending = [(d, s) for d, s in dims if not isinstance(simplify(d), int)]
        rest = []
        for dim, source in pending:
            if dim.is_Symbol:
                self._bind(dim, source, self._may_be_empty(dim, source))
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

    def _may_be_empty(self, symbol: Any, source: tuple[str, dict[str, int]]) -> bool:
        """Whether a dimension may be 0: export says so, or it is a number of elements that depends on values."""
        if source[0] != "FromInputDim":
            return False
        depends_on_values = symbol.name.startswith("u") and symbol in self.ranges
        return symbol.name in self.may_be_empty or (depends_on_values and bounds(symbol, self.ranges)[0] == 0)

    def _bind(self, symbol: Any, source: tuple[str, dict[str, int]], may_be_empty: bool = False) -> None:
        if symbol in self.bound:
            return
        low, high = bounds(symbol, self.ranges)
        low, least = _minima(low, high, source)
        self.builder.declare_symbol(symbol.name, low, high, source, least, may_be_empty)
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
        # The runtime solves a * s + b for s, and refuses sizes that leave a remainder.
        self._bind(unknown, source)

    def _opaque(self, dim: Any, source: tuple[str, dict[str, int]]) -> None:
        fresh = sympy.Symbol(f"dim{len(self.builder.graph.symbols)}", positive=True, integer=True)
        declared, lower = {}, {}
        for symbol in free_symbols(dim):
            low, high = bounds(symbol, self.ranges)
            low, other = _minima(low, high, source)
            declared[symbol] = low, high
            lower[symbol] = low if other is None else other, high
        low, high = _range(dim, declared)
        least, _ = _range(dim, lower)
        self.builder.declare_symbol(fresh.name, low, high, source, least if least < low else None)
        self.builder.graph.replacements.append((dim, fresh))
        self.bound.add(fresh)


def _range(dim: Any, limits: Mapping[Any, tuple[int, int]]) -> tuple[int, int]:
    """Inclusive bounds of an expression, by interval arithmetic."""
    ranges = {s: ValueRanges(low, int_oo if high == INT64_MAX else high) for s, (low, high) in limits.items()}
    found = bound_sympy(dim, ranges)
    low = int(found.lower) if found.lower.is_Integer else 0
    return max(low, 0), int(found.upper) if found.upper.is_Integer else INT64_MAX
