"""Symbolic dimensions ahead of time: sympy expressions, proofs about them, and their postfix form.

sympy comes with torch; it is imported where an expression is at hand, so that readers of payloads do without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from . import expr as postfix
from .errors import Unsupported

Dim: TypeAlias = Any
"""``int`` or a sympy expression over positive integer symbols."""

Shape: TypeAlias = tuple[Any, ...]

INT64_MAX = (1 << 63) - 1

_LONGEST_CHAIN = 16

_SMALL = 1 << 12
"""Numerators and denominators below it make exact products with sizes, in doubles."""


class UnknownSize(Unsupported):
    """A size that the inputs of a delegate do not determine."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"dimension symbol {symbol} cannot be computed from the inputs of the delegate")
        self.symbol = symbol


def simplify(dim: Dim) -> Dim:
    """The same dimension, as a plain int when it is a number, else expanded."""
    if isinstance(dim, int):
        return int(dim)
    if dim.is_Integer:
        return int(dim)
    expanded = dim.expand()
    return int(expanded) if expanded.is_Integer else expanded


def whole(dim: Dim) -> Dim:
    """The dimension without the detour through floats that a factor of 2.0 or 1.5 takes in torch."""
    if isinstance(dim, int):
        return dim
    return dim.replace(lambda e: type(e).__name__ == "TruncToInt", _truncated)


def _truncated(outer: Any) -> Any:
    """trunc(c * n) by integers, if the product is exact for every size that there is; else unchanged."""
    import sympy

    factors = sympy.Mul.make_args(outer.args[0])
    numbers = [f for f in factors if f.is_Float or f.is_Integer]
    sizes = [f for f in factors if type(f).__name__ == "ToFloat"]
    if len(sizes) != 1 or len(numbers) + 1 != len(factors):
        return outer
    n = sizes[0].args[0]
    factor = float(sympy.Mul(*numbers))
    top, bottom = factor.as_integer_ratio()
    if not (n.is_integer and n.is_nonnegative and 0 < top < _SMALL and bottom < _SMALL):
        return outer
    return top * n if bottom == 1 else sympy.floor(top * n / sympy.Integer(bottom))


def shape_of(dims: Iterable[Dim]) -> Shape:
    """A tuple of simplified dimensions."""
    return tuple(simplify(d) for d in dims)


def product(dims: Iterable[Dim]) -> Dim:
    """Product of dimensions, 1 for none."""
    result: Dim = 1
    for dim in dims:
        result = result * dim
    return simplify(result)


def same(a: Dim, b: Dim) -> bool:
    """True only when both are provably equal for every value of the symbols."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    difference = simplify(a - b)
    return bool(difference == 0 or simplify(_one_division(difference)) == 0)


def _one_division(dim: Dim) -> Dim:
    """The dimension with one floor for each chain of integer divisions.

    Export writes torch's integer division and sympy's floor side by side, and a division of a division (three
    convolutions of stride 2) sometimes as one by the product.
    """
    if isinstance(dim, int):
        return dim
    import sympy

    def divides(e: Any) -> bool:
        return type(e).__name__ in ("FloorDiv", "CleanDiv")

    dim = dim.replace(divides, lambda e: sympy.floor(e.args[0] / e.args[1]))
    # Innermost first; each time, the removal of one floor may allow that of the next.
    for _ in range(_LONGEST_CHAIN):
        simpler = dim.replace(lambda e: isinstance(e, sympy.floor), _unnest)
        if simpler == dim:
            break
        dim = simpler
    return dim


def _unnest(outer: Any) -> Any:
    """floor((floor(y) + k) / n) as floor((y + k) / n), the same for integers k and n > 0; whole numbers come out."""
    import sympy

    argument = sympy.expand(outer.args[0])
    numerator, denominator = sympy.fraction(sympy.together(argument))
    terms = sympy.Add.make_args(sympy.expand(numerator))
    inner = [t for t in terms if isinstance(t, sympy.floor)]
    if denominator.is_Integer and denominator > 0 and len(inner) == 1 and all(t.is_integer for t in terms):
        rest = sympy.Add(*(t for t in terms if t is not inner[0]))
        argument = sympy.expand((inner[0].args[0] + rest) / denominator)
    whole = sympy.floor(argument.as_coeff_Add()[0])
    return sympy.floor(argument - whole) + whole


def substitute(dim: Dim, old: Dim, new: Dim) -> Dim:
    """The dimension with ``old`` replaced where it occurs, if need be as the one floor that ``old`` is made of."""
    import sympy

    plain = simplify(dim.subs(old, new))
    if isinstance(plain, int) or not free_symbols(old) & free_symbols(plain):
        return plain
    dim, old = _one_division(dim), _one_division(old)
    floors = [] if isinstance(old, int) else list(old.atoms(sympy.floor))
    if isinstance(dim, int) or len(floors) != 1:
        return plain
    factor, rest = old.coeff(floors[0]), simplify(old - old.coeff(floors[0]) * floors[0])
    if factor not in (1, -1) or free_symbols(factor):
        return plain
    return simplify(dim.subs(floors[0], (new - rest) * factor))


def same_shape(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """True only when both shapes are provably equal."""
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def is_one(dim: Dim) -> bool:
    """True for the literal 1; a symbol that may be 1 is not."""
    return isinstance(dim, int) and dim == 1


def static(dim: Dim, what: str) -> int:
    """The dimension as an int.

    Raises:
        Unsupported: it depends on a symbol.
    """
    dim = simplify(dim)
    if not isinstance(dim, int):
        raise Unsupported(f"{what} depends on a dynamic dimension ({dim})")
    return dim


def static_shape(dims: Sequence[Dim], what: str) -> tuple[int, ...]:
    """The whole shape as ints; raises Unsupported when a dimension is dynamic."""
    return tuple(static(d, what) for d in dims)


def divide(a: Dim, b: Dim) -> Dim | None:
    """``a / b`` when the division provably leaves no remainder, else None."""
    a, b = simplify(a), simplify(b)
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    if b == 0:
        return None
    import sympy

    quotient = sympy.cancel(sympy.sympify(a) / b)
    numerator, denominator = sympy.fraction(quotient)
    if denominator != 1 or any(not c.is_integer for c in sympy.expand(numerator).as_coefficients_dict().values()):
        return None
    return simplify(numerator)


def free_symbols(dim: Dim) -> set[Any]:
    """The symbols a dimension depends on."""
    return set() if isinstance(dim, int) else set(dim.free_symbols)


def to_postfix(dim: Dim, symbols: Mapping[str, int]) -> postfix.Postfix:
    """Postfix code of a dimension.

    Raises:
        Unsupported: an unbound symbol, or a function that the IR has no code for.
    """
    import sympy

    out: list[tuple[int, int]] = []
    _emit(sympy.sympify(dim), symbols, out)
    return tuple(out)


def _chain(args: Sequence[Any], code: int, symbols: Mapping[str, int], out: list[tuple[int, int]]) -> None:
    _emit(args[0], symbols, out)
    for arg in args[1:]:
        _emit(arg, symbols, out)
        out.append((code, 0))


def _quotient(value: Any, code: int, symbols: Mapping[str, int], out: list[tuple[int, int]]) -> None:
    import sympy

    numerator, denominator = sympy.fraction(sympy.together(value))
    _emit(numerator, symbols, out)
    if denominator != 1:
        _emit(denominator, symbols, out)
        out.append((code, 0))


def _emit(e: Any, symbols: Mapping[str, int], out: list[tuple[int, int]]) -> None:
    import sympy

    # torch has its own integer functions beside sympy's; they are told apart by name because this module must not
    # import torch.
    name = type(e).__name__
    if e.is_Integer:
        out.append((postfix.CONST, int(e)))
    elif e.is_Symbol:
        if e.name not in symbols:
            raise UnknownSize(e.name)
        out.append((postfix.SYMBOL, symbols[e.name]))
    elif e.is_Add or e.is_Mul:
        # An exact rational coefficient (s*t/2) is one division at the end.
        numerator, denominator = sympy.fraction(sympy.together(e))
        if denominator != 1:
            _emit(numerator, symbols, out)
            _emit(denominator, symbols, out)
            out.append((postfix.FLOOR_DIV, 0))
        elif e.is_Add:
            positive = [a for a in e.args if not a.could_extract_minus_sign()]
            negative = [-a for a in e.args if a.could_extract_minus_sign()]
            if not positive:
                positive = [sympy.Integer(0)]
            _chain(positive, postfix.ADD, symbols, out)
            for term in negative:
                _emit(term, symbols, out)
                out.append((postfix.SUB, 0))
        else:
            _chain(e.args, postfix.MUL, symbols, out)
    elif e.is_Pow and e.exp.is_Integer and int(e.exp) > 0:
        _chain([e.base] * int(e.exp), postfix.MUL, symbols, out)
    elif name in ("FloorDiv", "CleanDiv"):
        _chain(e.args, postfix.FLOOR_DIV, symbols, out)
    elif name in ("CeilDiv",):
        _chain(e.args, postfix.CEIL_DIV, symbols, out)
    elif name in ("Mod", "PythonMod"):
        _chain(e.args, postfix.MOD, symbols, out)
    elif name in ("floor", "FloorToInt"):
        _quotient(e.args[0], postfix.FLOOR_DIV, symbols, out)
    elif name in ("ceiling", "CeilToInt"):
        _quotient(e.args[0], postfix.CEIL_DIV, symbols, out)
    elif name == "Max":
        _chain(e.args, postfix.MAX, symbols, out)
    elif name == "Min":
        _chain(e.args, postfix.MIN, symbols, out)
    else:
        raise Unsupported(f"dimension {e} uses {name}, which the graph cannot compute at run time")


def probably_same(a: Dim, b: Dim) -> bool:
    """True when both are provably equal, or agree at many values of the symbols (different forms of one formula)."""
    if same(a, b):
        return True
    symbols = sorted(free_symbols(a) | free_symbols(b), key=lambda s: str(s.name))
    if not symbols:
        return False
    index = {str(s.name): i for i, s in enumerate(symbols)}
    try:
        left, right = to_postfix(a, index), to_postfix(b, index)
    except Unsupported:
        return False
    for trial in range(24):
        values = [2 + (trial * (7 + 5 * i) + i) % 97 for i in range(len(symbols))]
        if postfix.evaluate(left, values) != postfix.evaluate(right, values):
            return False
    return True
