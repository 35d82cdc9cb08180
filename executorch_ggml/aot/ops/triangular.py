"""Systems of equations with a triangular matrix: `linalg_solve_triangular`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Unsupported, Value
from executorch_ggml.ir.dims import product

from .flip import flipped

_aten = torch.ops.aten


def _cases() -> list[Case]:
    def solve(left: bool, upper: bool) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        def fn(a: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            # Far from singular: the effect of rounding grows with the condition of a system.
            a = a + 4.0 * torch.eye(a.shape[-1])
            x: torch.Tensor = torch.linalg.solve_triangular(a, y, upper=upper, left=left)
            return x

        return fn

    def matrix(*shape: int) -> Arg:
        return Arg(shape, low=-1.0, high=1.0)

    lower, upper = solve(True, False), solve(True, True)
    batch = {0: ("n", 1, 6)}
    return [
        Case(lower, [matrix(5, 5), (5, 3)]),
        Case(lower, [matrix(70, 70), (70, 2)], name="large"),
        Case(lower, [matrix(5, 5), (5, 1)], name="one column"),
        Case(lower, [matrix(1, 1), (1, 3)], name="one row"),
        Case(lower, [matrix(2, 3, 4, 4), (2, 3, 4, 6)], name="batches"),
        Case(lower, [matrix(3, 4, 4), (2, 1, 4, 2)], name="batches broadcast"),
        Case(lower, [matrix(2, 1, 3, 4, 4), (2, 2, 3, 4, 2)], name="rank 5"),
        Case(lower, [matrix(4, 3, 3), (4, 3, 2)], dynamic=[batch, batch], name="dynamic"),
        Case(lambda a, y: lower(a.mT, y), [matrix(5, 5), (5, 3)], name="transposed"),
        Case(upper, [matrix(2, 5, 5), (2, 5, 3)], name="upper"),
        Case(solve(False, False), [matrix(5, 5), (3, 5)], name="from the right"),
        Case(solve(False, True), [matrix(2, 5, 5), (2, 3, 5)], name="upper from the right"),
        Case(
            lambda a, y: torch.linalg.solve_triangular(a, y, upper=False, unitriangular=True),
            [matrix(4, 4), (4, 2)],
            refused="unitriangular",
            name="ones on the diagonal",
        ),
    ]


@register(_aten.linalg_solve_triangular.default, cases=_cases)
def linalg_solve_triangular(b: Builder, n: NodeView) -> Value:
    """x with a x = B (or x a = B), by substitution from the first row on.

    ggml solves lower triangles from the left. An upper one is a lower one with rows and columns reversed.
    """
    n.require_float()
    if n.flag("unitriangular"):
        raise Unsupported("linalg.solve_triangular with unitriangular=True")
    a, y = b.f32(n.tensor("self")), b.f32(n.tensor("B"))
    upper, left = n.flag("upper"), n.flag("left")
    if not left:  # (x a = B) is (a^T x^T = B^T)
        a, y, upper = b.transpose(a, -1, -2), b.transpose(y, -1, -2), not upper
    batch = b.broadcast(a.shape[:-2], y.shape[:-2])
    a, y = b.expand(a, (*batch, *a.shape[-2:])), b.expand(y, (*batch, *y.shape[-2:]))
    if upper:
        rows = a.rank - 2
        a, y = flipped(b, flipped(b, a, rows), rows + 1), flipped(b, y, rows)
    shape = y.shape
    if len(shape) > 4:
        flat = product(batch)
        a, y = b.reshape(a, (flat, *a.shape[-2:])), b.reshape(y, (flat, *y.shape[-2:]))
    x = b.reshape(b.solve_triangular(a, y), shape)
    if upper:
        x = flipped(b, x, len(shape) - 2)
    return x if left else b.transpose(x, -1, -2)
