"""Integer expressions over symbols, in the postfix form of the IR. Needs nothing but Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .errors import IrError

CONST, SYMBOL, ADD, SUB, MUL, FLOOR_DIV, CEIL_DIV, MOD, MAX, MIN = range(10)

Postfix = tuple[tuple[int, int], ...]
"""(code, argument) pairs; the argument is the constant or the symbol's index, 0 for operators."""

_NAMES = {ADD: "+", SUB: "-", MUL: "*", FLOOR_DIV: "//", CEIL_DIV: "ceil_div", MOD: "%", MAX: "max", MIN: "min"}


def _floor_div(a: int, b: int) -> int:
    return a // b


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _mod(a: int, b: int) -> int:
    return a % b


_OPERATORS: dict[int, Callable[[int, int], int]] = {
    ADD: lambda a, b: a + b,
    SUB: lambda a, b: a - b,
    MUL: lambda a, b: a * b,
    FLOOR_DIV: _floor_div,
    CEIL_DIV: _ceil_div,
    MOD: _mod,
    MAX: max,
    MIN: min,
}


def evaluate(code: Sequence[tuple[int, int]], symbols: Sequence[int]) -> int:
    """Value of a postfix expression.

    Raises:
        IrError: stack underflow, unknown code or symbol, division by zero, more or less than one result.
    """
    stack: list[int] = []
    for op, arg in code:
        if op == CONST:
            stack.append(arg)
        elif op == SYMBOL:
            if not 0 <= arg < len(symbols):
                raise IrError(f"expression uses symbol {arg} of {len(symbols)}")
            stack.append(symbols[arg])
        else:
            if op not in _OPERATORS or len(stack) < 2:
                raise IrError(f"bad expression code {op} with {len(stack)} operands")
            right = stack.pop()
            if right == 0 and op in (FLOOR_DIV, CEIL_DIV, MOD):
                raise IrError("expression divides by zero")
            stack.append(_OPERATORS[op](stack.pop(), right))
    if len(stack) != 1:
        raise IrError(f"expression leaves {len(stack)} numbers")
    return stack[0]


def render(code: Sequence[tuple[int, int]], names: Sequence[str]) -> str:
    """Infix text of a postfix expression, for dumps; ``?`` stands for malformed parts."""
    stack: list[str] = []
    for op, arg in code:
        if op == CONST:
            stack.append(str(arg))
        elif op == SYMBOL:
            stack.append(names[arg] if 0 <= arg < len(names) else f"?{arg}")
        else:
            right = stack.pop() if stack else "?"
            left = stack.pop() if stack else "?"
            symbol = _NAMES.get(op, "?")
            stack.append(f"({left} {symbol} {right})" if len(symbol) <= 2 else f"{symbol}({left}, {right})")
    return stack[0] if len(stack) == 1 else "?"
