"""`copy`: the write of a whole tensor, as into a mutable buffer."""

from __future__ import annotations

import torch

from executorch_ggml.aot.registry import Builder, NodeView, Value, register


@register(torch.ops.aten.copy.default)
def copy(b: Builder, n: NodeView) -> Value:
    """copy(self, src): src in self's shape and type."""
    n.require_float()
    return b.expand(b.f32(n.tensor("src")), n.out.shape)
