"""Sizes of tensors inside a graph, asked of the inputs instead."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.quick


def test_a_size_that_an_input_has_is_asked_of_the_input() -> None:
    import torch
    from torch import nn
    from torch.export import Dim

    from executorch_ggml.aot.passes.sizes_of_inputs import ask_inputs_for_sizes

    class Net(nn.Module):
        def forward(self, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            y = torch.relu(x)
            return y.reshape(y.shape[0] // 4, 4 * y.shape[1]) * rows.sum()

    n = Dim("n", min=1, max=8)
    program = torch.export.export(
        Net(), (torch.zeros(12, 2), torch.zeros(12)), dynamic_shapes=({0: 4 * n}, {0: 4 * n}), strict=False
    )
    module = program.graph_module
    relu = next(node for node in module.graph.nodes if node.target is torch.ops.aten.relu.default)
    size = next(node for node in module.graph.nodes if "sym_size" in str(node.target))
    size.args = (relu, 0)  # as retracing leaves it, in an order that is still valid
    relu.append(size)
    for user in size.users:
        size.append(user)
    assert ask_inputs_for_sizes(module).modified
    assert size.args[0].op == "placeholder"
    assert not ask_inputs_for_sizes(module).modified
    x, rows = torch.randn(8, 2), torch.ones(8)
    torch.testing.assert_close(module(x, rows)[0], Net()(x, rows))
