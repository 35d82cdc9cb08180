"""Other shapes of the same elements: `view`, `reshape`, `_unsafe_view`, `flatten`, `squeeze`, `unsqueeze`."""

from __future__ import annotations

import torch

from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.registry import Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value

from ._views import with_relu

_aten = torch.ops.aten


@register(
    _aten.view.default,
    _aten.view_copy.default,
    _aten.reshape.default,
    _aten._unsafe_view.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.view(6, 10)), [(3, 4, 5)]),
        Case(lambda x: with_relu(x.view(2, 3, 2, 5, 1)), [(3, 4, 5)], name="to rank 5"),
        Case(lambda x: with_relu(x.view(4, 15)), [(2, 3, 2, 5, 1)], name="from rank 5"),
        Case(lambda x: with_relu(x.transpose(0, 1).reshape(12)), [(3, 4)], name="of a transposed"),
        Case(lambda x: with_relu(x.permute(0, 2, 1, 3).reshape(2, 4, 15)), [(2, 3, 4, 5)], name="heads back"),
        Case(lambda x: with_relu(x.reshape(-1, 6)), [(5, 2, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(
            lambda x: with_relu(x.reshape(x.shape[0] * 2, 3)),
            [(5, 6)],
            dynamic=[{0: ("n", 1, 9)}],
            name="split dynamic",
        ),
        Case(lambda x: with_relu(x[:, 1:4].reshape(2, 12)), [(2, 6, 4)], name="of a slice"),
    ],
)
def view(b: Builder, n: NodeView) -> Value:
    """The same elements under another shape."""
    return b.reshape(n.tensor("self"), n.out.shape)


@register(_aten.flatten.using_ints, moves=True, bounds=bounds.first)
def flatten(b: Builder, n: NodeView) -> Value:
    """Neighbouring dimensions merged."""
    return b.reshape(n.tensor("self"), n.out.shape)


@register(
    _aten.unsqueeze.default,
    _aten.unsqueeze_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: (
        [Case(lambda x, d=d: with_relu(x.unsqueeze(d)), [(2, 3, 4)], name=f"{d}") for d in (0, 1, 2, 3, -1, -2)]
        + [
            Case(lambda x: with_relu(x.t().unsqueeze(1)), [(3, 4)], name="transposed"),
            Case(lambda x: with_relu(x.unsqueeze(2)), [(2, 3, 4, 5)], name="to rank 5"),
        ]
    ),
)
def unsqueeze(b: Builder, n: NodeView) -> Value:
    """A dimension of one more."""
    return b.unsqueeze(n.tensor("self"), n.integer("dim"))


@register(
    _aten.squeeze.dim,
    _aten.squeeze.dims,
    _aten.squeeze.default,
    _aten.squeeze_copy.dim,
    _aten.squeeze_copy.dims,
    _aten.squeeze_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: with_relu(x.squeeze(1)), [(2, 1, 4)]),
        Case(lambda x: with_relu(x.squeeze(0)), [(2, 1, 4)], name="nothing"),
        Case(lambda x: with_relu(x.squeeze()), [(1, 3, 1, 4)], name="all"),
        Case(lambda x: with_relu(x.squeeze((0, 2))), [(1, 3, 1, 4)], name="two"),
    ],
)
def squeeze(b: Builder, n: NodeView) -> Value:
    """Dimensions of one dropped."""
    return b.reshape(n.tensor("self"), n.out.shape)
