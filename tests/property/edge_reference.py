"""What eager makes of a chain whose values may be infinite, no number, huge or tiny, and how far it may be missed."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from random_graphs import Chain
from torch.nn.attention import SDPBackend, sdpa_kernel

RELATIVE = 2e-5
LARGEST, SMALLEST = torch.finfo(torch.float32).max, torch.finfo(torch.float32).tiny
NOISY = 4
Scope = dict[str, Any]


def references(chain: Chain, n: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Eager's result; and what F64 makes of it, with and without an F32's rounding of what goes into each line.

    A line is disturbed only if it rounds: comparisons and the like see the very numbers. Attention is computed in plain
    operations, too: torch's fused kernel makes 0 of scores that are NaN if there are fewer than 16 keys.
    """
    given = {f.name: f.tensor(n) for f in chain.fresh}
    single: Scope = {"torch": torch, "F": F, **given}
    exact: Scope = {"torch": torch, "F": F, **{k: _double(t) for k, t in given.items()}}
    noisy = [dict(exact) for _ in range(NOISY)]
    plain = dict(exact)
    generator = torch.Generator().manual_seed(0)
    for at, line in enumerate(chain.lines):
        name, expression = line.split(" = ", 1)
        exec(line, single)
        exact[name] = _within(_evaluated(expression, exact, single[name]))
        rounds = at in chain.rounding or not _same(single[name], exact[name])
        for scope in noisy:
            seen = _disturbed(scope, expression, given, generator) if rounds else scope
            scope[name] = _within(_evaluated(expression, seen, single[name]))
        with sdpa_kernel(SDPBackend.MATH):
            plain[name] = _within(_evaluated(expression, plain, single[name]))
    attends = any("scaled_dot_product_attention" in line for line in chain.lines)
    scopes = (exact, *noisy, plain) if attends else (exact, *noisy)
    return single[chain.result], [scope[chain.result] for scope in scopes]


def _double(t: torch.Tensor) -> torch.Tensor:
    return t.double() if t.dtype is torch.float32 else t


def _evaluated(expression: str, scope: Scope, single: torch.Tensor) -> torch.Tensor:
    try:
        return _double(eval(expression, dict(scope)))
    except (RuntimeError, IndexError):  # a type that does not go with F64
        plain = {k: v.float() if isinstance(v, torch.Tensor) and v.is_floating_point() else v for k, v in scope.items()}
        result: torch.Tensor = eval(expression, plain)
        return _double(result)


def _within(t: torch.Tensor) -> torch.Tensor:
    """An F32 has no room for larger numbers."""
    if not t.is_floating_point():
        return t
    return torch.where(t.abs() > LARGEST, torch.inf * t.sign(), t)


def _same(single: torch.Tensor, exact: torch.Tensor) -> bool:
    return torch.equal(single.double().nan_to_num(0.5), exact.double().nan_to_num(0.5))


def _disturbed(scope: Scope, expression: str, given: Scope, generator: torch.Generator) -> Scope:
    seen = dict(scope)
    for name in set(re.findall(r"\b[vwx]\d*_?\b", expression)) & set(scope):
        value = scope[name]
        if value.is_floating_point():
            signs = torch.randint(0, 2, value.shape, generator=generator) * 2.0 - 1
            seen[name] = value * (1 + 2.0**-22 * signs)
            if name not in given:  # a computed number below the smallest normal one may be 0
                seen[name] = torch.where(value.abs() < 2 * SMALLEST, seen[name] + SMALLEST * signs, seen[name])
    return seen


def difference(got: torch.Tensor, want: torch.Tensor, precise: list[torch.Tensor]) -> str:
    """Empty, or how ``got`` differs, element by element. The same infinities and NaN with NaN are equal; an element
    that is finite only in some of the references is not judged."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {tuple(got.shape)} instead of {want.dtype} {tuple(want.shape)}"
    if not want.dtype.is_floating_point:
        return "" if torch.equal(got, want) else f"{got} instead of {want}"
    g, w = got.double(), want.double()
    clear, rounding = torch.ones(w.shape, dtype=torch.bool), torch.zeros(w.shape, dtype=torch.float64)
    for p in precise:
        clear &= torch.where(w.isfinite(), p.isfinite(), (p == w) | (p.isnan() & w.isnan()))
    for p in precise:
        rounding = torch.maximum(rounding, (w - p).abs().nan_to_num(0.0))
    both_wild = ~w.isfinite() & ((g == w) | (g.isnan() & w.isnan()))
    near = w.isfinite() & ((g - w).abs() <= RELATIVE * w.abs() + 20 * rounding + 2 * SMALLEST)
    wrong = clear & ~both_wild & ~near
    if not bool(wrong.any()):
        return ""
    at = tuple(int(i) for i in wrong.nonzero()[0])
    first = f"at {at} {g[at].item()!r} instead of {w[at].item()!r}"
    return f"{int(wrong.sum())} of {w.numel()} differ, {first}: {got} instead of {want}"
