"""`sign`."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value

from ._fp16 import as_stored
from ._special_values import on_special_values

_aten = torch.ops.aten


@register(
    _aten.sign.default,
    cases=lambda: [
        Case(torch.sign, [(3, 5)]),
        Case(lambda x: torch.sign(torch.round(x).t()), [(3, 5)], name="transposed, zeros"),
        Case(torch.sign, [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(torch.sign, [Arg((3, 5), torch.int64, -9, 9)], refused="int64", name="integers"),
        on_special_values(torch.sign),
    ],
)
def sign(b: Builder, n: NodeView) -> Value:
    """1, 0 or -1; 0 for NaN."""
    n.require_exact()
    x = as_stored(b, n.tensor("self"))
    below = b.unary(UnaryKind.STEP, b.scale(x, -1.0))
    return b.binary(BinaryKind.SUB, b.unary(UnaryKind.STEP, x), below).with_dtype(n.out.dtype)
