"""`arange`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, Dim, Value

_aten = torch.ops.aten


def iota(b: Builder, length: Dim) -> Value:
    """0, 1, 2, ...: counted up, which is exact."""
    return b.scale(b.cumsum(b.fill(1.0, (length,))), 1.0, -1.0)


@register(
    _aten.arange.start_step,
    _aten.arange.start,
    _aten.arange.default,
    moves=True,
    bounds=bounds.arange,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: x + torch.arange(5), [(3, 5)], name="ints"),
        Case(lambda x: x + torch.arange(2, 17, 3), [(3, 5)], name="stepped"),
        Case(lambda x: x + torch.arange(5, 0, -1), [(3, 5)], name="down"),
        Case(lambda x: x + torch.arange(0.5, 3.0, 0.5), [(3, 5)], name="floats"),
        Case(lambda x: x * torch.arange(x.shape[0])[:, None], [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(
            lambda x: x * torch.arange(x.shape[0], 2 * x.shape[0])[:, None],
            [(5, 3)],
            dynamic=[{0: ("n", 1, 9)}],
            refused="start",
            name="dynamic start",
        ),
    ],
)
def arange(b: Builder, n: NodeView) -> Value:
    """start, start + step, ..."""
    n.require_exact()
    start = _number(n, "start") if n.takes("start") else 0.0
    step = _number(n, "step") if n.takes("step") else 1.0
    return b.scale(iota(b, n.out.shape[0]), step, start).with_dtype(n.out.dtype)


def _number(n: NodeView, name: str) -> float:
    if not isinstance(n.raw(name), (int, float)):
        raise Unsupported(f"{name} of a range is not a constant")
    return n.number(name)
