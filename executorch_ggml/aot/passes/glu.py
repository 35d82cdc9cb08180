"""Gated units, as `executorch_ggml::glu`.

    silu(gate) * up, gelu(gate) * up (exact GELU), relu(gate) * up

GELU by tanh is left alone: ggml's fused form reads a half-precision table, which is not the function that was exported.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import (
    GraphEditor,
    args_of,
    argument,
    aten,
    is_call,
    is_delegable,
    is_tensor,
    nodes_of,
    operands,
    same_shape,
    shape,
    value,
)


def _activated(node: object) -> tuple[Node, str] | None:
    """(argument, name), if the node is a known activation with one user."""
    if not is_call(node) or len(node.users) != 1:
        return None
    if is_call(node, aten.silu.default):
        name = "silu"
    elif is_call(node, aten.gelu.default) and argument(node, 1, "approximate", "none") == "none":
        name = "gelu"
    elif is_call(node, aten.relu.default):
        name = "relu"
    else:
        # silu written out: x * sigmoid(x).
        if is_call(node, aten.mul.Tensor):
            for x, sigmoid in operands(node):
                if is_call(sigmoid, aten.sigmoid.default) and args_of(sigmoid)[0] is x and len(sigmoid.users) == 1:
                    return x, "silu"
        return None
    gate = args_of(node)[0]
    return (gate, name) if is_tensor(gate) else None


def fuse_glu(ep: ExportedProgram) -> bool:
    """Rewrite every gated unit of `ep` in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.mul.Tensor):
        for activated, up in operands(node):
            found = _activated(activated)
            # Equal shapes: a gate that broadcasts (squeeze and excitation) is not a gated unit.
            if found is None or not is_tensor(up) or up is activated:
                continue
            if not same_shape(shape(found[0]), shape(up)) or value(found[0]).dtype != value(up).dtype:
                continue
            if not is_delegable(up) or len(shape(up)) == 0:
                continue
            fused = editor.call(node, torch.ops.executorch_ggml.glu.default, found[0], up, found[1])
            editor.replace(node, fused)
            break
    return editor.finish()
