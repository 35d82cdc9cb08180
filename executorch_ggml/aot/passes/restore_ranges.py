"""Ranges of dynamic sizes as torch.export recorded them, after somebody else lowered the same program.

A decomposition that looks at a size (ExecuTorch's of a recurrent cell) fixes the symbol in an environment that all
graphs of the program share. The program's own constraints still have the ranges of its sizes.
"""

from __future__ import annotations

from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.value_ranges import ValueRanges


def restore_ranges(ep: ExportedProgram) -> bool:
    """Frees, in the program's environment, symbols that were fixed although the program gives a range; True if any."""
    env = _environment(ep)
    if env is None:
        return False
    fixed = {
        symbol: env.replacements[symbol]
        for symbol, limits in ep.range_constraints.items()
        if getattr(env.replacements.get(symbol), "is_Integer", False) and limits.lower != limits.upper
    }
    if not fixed:
        return False
    for symbol in fixed:
        limits = ep.range_constraints[symbol]
        del env.replacements[symbol]
        # As the tracer has it: a size of 0 or 1 would be another program.
        env.var_to_range[symbol] = ValueRanges(max(limits.lower, 2), limits.upper)
    _restore_equals(env, fixed)
    env.guards[:] = [g for g in env.guards if not _fixes(g.expr, fixed)]
    env._replacements_version_counter += 1
    env._update_version_counter()
    return True


def _environment(ep: ExportedProgram) -> Any:
    for node in ep.graph.nodes:
        val = node.meta.get("val")
        sizes: tuple[Any, ...] = tuple(val.shape) if isinstance(val, torch.Tensor) else ()
        for size in sizes:
            if isinstance(size, torch.SymInt):
                return size.node.shape_env
    # A symbol that is fixed looks like a number from outside.
    mode = next((getattr(n.meta.get("val"), "fake_mode", None) for n in ep.graph.nodes if n.op == "placeholder"), None)
    return getattr(mode, "shape_env", None)


def _restore_equals(env: Any, fixed: dict[Any, Any]) -> None:
    """Symbols that stood for one of those, by the guards that say so."""
    known = {symbol: (symbol, number) for symbol, number in fixed.items()}
    equals = [g.expr for g in env.guards if isinstance(g.expr, sympy.Eq)]
    equals = [e for e in equals if all(getattr(a, "is_Symbol", False) for a in e.args)]
    for _ in equals:  # a chain has no more links than there are guards
        for expr in equals:
            for symbol, other in (expr.args, expr.args[::-1]):
                root, number = known.get(other, (None, None))
                if root is not None and symbol not in known and env.replacements.get(symbol) == number:
                    known[symbol] = root, number
                    env.replacements[symbol] = root
                    env.var_to_range[symbol] = env.var_to_range[root]


def _fixes(expr: Any, fixed: dict[Any, Any]) -> bool:
    return isinstance(expr, sympy.Eq) and any(expr in (sympy.Eq(s, n), sympy.Eq(n, s)) for s, n in fixed.items())
