"""Sizes that a graph computes with, read from its inputs.

Where a size is asked of a tensor inside the graph, the delegate would have to be left for the answer and entered anew.
Retracing moves such questions to the first tensor that has the size; this moves them back to the inputs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.passes.infra.pass_base import PassResult

__all__ = ["ask_inputs_for_sizes"]


def ask_inputs_for_sizes(module: GraphModule) -> PassResult:
    """Replaces ``sym_size(x, d)`` by the size of an input that is the same symbol or expression, where there is one.

    A pass for ``transform_passes``. The order of nodes stays valid: inputs come first.
    """
    known: dict[Any, tuple[Node, int]] = {}
    for node in module.graph.nodes:
        value: Any = node.meta.get("val")
        if node.op == "placeholder" and isinstance(value, torch.Tensor):
            sizes: tuple[Any, ...] = tuple(value.shape)
            for dim, size in enumerate(sizes):
                if not isinstance(size, int):
                    known.setdefault(size.node.expr, (node, dim))
    changed = False
    for node in module.graph.nodes:
        if node.op != "call_function" or "sym_size" not in str(node.target):
            continue
        size = node.meta.get("val")
        if node.args[0].op == "placeholder" or isinstance(size, int) or size is None:
            continue
        source = known.get(size.node.expr)
        if source is not None:
            node.args = source
            changed = True
    if changed:
        module.graph.lint()
        module.recompile()
    return PassResult(module, changed)
