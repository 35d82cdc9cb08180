"""`var`, in two passes. The mean of squares less the square of the mean would lose small differences."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value
from executorch_ggml.ir.dims import product, static

_aten = torch.ops.aten


def _cases() -> list[Case]:
    var = torch.var
    return [
        *(Case(lambda x, d=d: var(x, d), [(3, 4, 5)], name=f"{d}") for d in (0, 1, -1, (0, 2), (-1, -2))),
        Case(lambda x: var(x, 1, keepdim=True), [(3, 4, 5)], name="keep"),
        Case(var, [(3, 4)], name="all"),
        *(Case(lambda x, c=c: var(x, -1, correction=c), [(3, 5)], name=f"correction {c}") for c in (0, 2, 1.5)),
        Case(lambda x: var(x + 1000, -1), [(3, 50)], name="far from zero", tolerance=1e-6),
        Case(lambda x: torch.std(x, -1), [(2, 3, 4, 5)], name="deviation"),
        Case(lambda x: var(x.t(), 0), [(3, 5)], name="transposed"),
        Case(lambda x: var(x, -1), [(5, 4)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: var(x, 0), [(5, 4)], dynamic=[{0: ("n", 2, 9)}], refused="variance", name="over dynamic"),
    ]


@register(_aten.var.correction, cases=_cases)
def var(b: Builder, n: NodeView) -> Value:
    """Sum of squared differences from the mean, over the count less a correction (1 if none is given)."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    dims = (n.integers("dim") if x.rank else []) or list(range(x.rank))
    count = static(product([x.shape[d] for d in dims]), "the variance's count")
    freedom = max(0.0, count - (n.number("correction") if n.has("correction") else 1.0))
    apart = b.binary(BinaryKind.SUB, x, b.reduce("mean", x, dims, True))
    total = b.reduce("sum", b.unary(UnaryKind.SQR, apart), dims, n.flag("keepdim"))
    # Without a degree of freedom this divides by zero, as torch does.
    return b.binary(BinaryKind.DIV, total, b.fill(freedom, (1,) * len(total.shape) if total.rank else ()))
