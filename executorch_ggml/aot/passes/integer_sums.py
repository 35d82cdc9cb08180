"""Sums of large integers and of float64 over one dimension, as sums over two of which one has a single element.

ExecuTorch 1.5 adds up a single dimension in float32 where result and elements have one type: wrong beyond 2^24, and
with the digits of float32. Over several dimensions it adds in the type itself.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from executorch_ggml.aot.bounds import EXACT
from executorch_ggml.aot.integer_bounds import IntegerBounds

from ._graph import GraphEditor, args_of, argument, aten, dim_index, nodes_of, value


def add_up_integers(ep: ExportedProgram) -> bool:
    """Replace, in place, sums that ExecuTorch would round; True if there was one."""
    editor = GraphEditor(ep)
    bounds = IntegerBounds(editor)
    for node in nodes_of(editor.graph, aten.sum.dim_IntList, aten.sum.default):
        source, result = args_of(node)[0], value(node)
        narrow = result.dtype.is_floating_point and result.dtype is not torch.float64
        if narrow or result.dtype.is_complex or value(source).dtype is not result.dtype:
            continue
        limits = None if result.dtype is torch.float64 else bounds.computed(node)
        if limits is not None and max(map(abs, limits)) <= EXACT:
            continue
        rank = value(source).dim()
        if not rank:  # torch takes dimension 0 for one of one entry; ExecuTorch's kernel refuses it
            editor.replace(node, editor.call(node, aten.clone.default, source))
            continue
        dims = argument(node, 1, "dim") if node.target is aten.sum.dim_IntList else None
        over = sorted({dim_index(d, rank) for d in dims or range(rank)})
        if len(over) != 1:
            continue
        longer = editor.call(node, aten.unsqueeze.default, source, 0)
        total = editor.call(node, aten.sum.dim_IntList, longer, [0, over[0] + 1], dtype=result.dtype)
        if result.dim() == rank:  # keepdim
            total = editor.call(node, aten.unsqueeze.default, total, over[0])
        editor.replace(node, total)
    return editor.finish()
