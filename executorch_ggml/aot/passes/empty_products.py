"""Products over nothing: a matrix [n, 0] times one [0, m] is zeros, or the bias.

ExecuTorch's kernels leave the memory of the result as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_tensor, nodes_of, shape, value

# The factor that ends in the inner dimension, and the addend.
_PRODUCTS: dict[Any, tuple[int, int | None]] = {
    aten.mm.default: (0, None),
    aten.bmm.default: (0, None),
    aten.matmul.default: (0, None),
    aten.mv.default: (0, None),
    aten.dot.default: (0, None),
    aten.linear.default: (0, 2),
    aten.addmm.default: (1, 0),
    aten.baddbmm.default: (1, 0),
}


def replace_empty_products(ep: ExportedProgram) -> bool:
    """Replace, in place, products of known size over an inner dimension of 0; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_PRODUCTS):
        factor, addend = _PRODUCTS[node.target]
        size = shape(args_of(node)[factor])[-1]
        if not isinstance(size, int) or size or not all(isinstance(d, int) for d in shape(node)):
            continue
        bias = argument(node, addend, "bias" if addend else "self") if addend is not None else None
        editor.replace(node, _added(editor, node, bias))
    return editor.finish()


def _added(editor: GraphEditor, node: Node, bias: Any) -> Node:
    beta = node.kwargs.get("beta", 1)
    dtype: torch.dtype = value(node).dtype
    if not is_tensor(bias) or beta == 0:  # torch then ignores NaN in the addend
        return editor.call(node, aten.full.default, list(shape(node)), 0, dtype=dtype, device=value(node).device)
    if beta != 1:
        bias = editor.call(node, aten.mul.Tensor, bias, beta)
    wide = editor.call(node, aten.expand.default, bias, list(shape(node)))
    return editor.call(node, aten.clone.default, wide)
