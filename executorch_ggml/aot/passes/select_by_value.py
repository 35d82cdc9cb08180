"""Entries chosen by a number that a tensor holds (`x[n[0]]`, `h[:, length - 1]`) as indexing by a tensor.

torch.export makes a number of the tensor, of which nothing is known; ExecuTorch's decompositions want to know whether
it is negative. Indexing by a tensor takes the number unchanged, counts from the end, and is checked when it runs.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_call, is_tensor, nodes_of, shape, value

_NUMBERS = (aten.item.default, aten._local_scalar_dense.default)
_ARITHMETIC = {operator.add: aten.add.Tensor, operator.sub: aten.sub.Tensor, operator.mul: aten.mul.Tensor}


def select_by_value(ep: ExportedProgram) -> bool:
    """Replace, in place, selections by a number that depends on values; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.select.int, aten.select_scatter.default):
        writes = node.target is aten.select_scatter.default
        x, index = args_of(node)[0], argument(node, 3 if writes else 2, "index")
        if not is_tensor(x) or not isinstance(index, Node):
            continue
        place = _as_tensor(editor, node, index)
        if not is_tensor(place):
            continue
        dim = dim_index(argument(node, 2 if writes else 1, "dim", 0), len(shape(x)))
        front = list(range(1, len(shape(x))))
        front.insert(dim, 0)
        # The dimension comes first: a list of positions with gaps in front of it is not for every kernel.
        moved = editor.call(node, aten.permute.default, x, [dim, *(d for d in range(len(shape(x))) if d != dim)])
        if writes:
            values = editor.call(node, aten.unsqueeze.default, args_of(node)[1], 0)
            written = editor.call(node, aten.index_put.default, moved, [place], values)
            editor.replace(node, editor.call(node, aten.permute.default, written, front))
        else:
            rows = editor.call(node, aten.index.Tensor, moved, [place])
            editor.replace(node, editor.call(node, aten.squeeze.dim, rows, 0))
    return editor.finish()


def _as_tensor(editor: GraphEditor, before: Node, number: Any) -> Any:
    """A number as an int64 tensor of one element, if a tensor holds it or one that it is computed from; else itself."""
    if not isinstance(number, Node):
        return number
    if is_call(number, *_NUMBERS) and is_tensor(args_of(number)[0]):
        source = args_of(number)[0]
        if value(source).dtype.is_floating_point or value(source).dtype is torch.bool:
            return number
        flat = editor.call(before, aten.reshape.default, source, [1])
        wide = value(source).dtype is torch.int64
        return flat if wide else editor.call(before, aten._to_copy.default, flat, dtype=torch.int64)
    target: Any = _ARITHMETIC.get(number.target)  # type: ignore[arg-type]
    if number.op != "call_function" or target is None:
        return number
    left, right = (_as_tensor(editor, before, a) for a in args_of(number))
    if not is_tensor(left) and not is_tensor(right):
        return number
    if is_tensor(left):
        return editor.call(before, target, left, right)
    if target is aten.sub.Tensor:
        return editor.call(before, aten.add.Tensor, editor.call(before, aten.neg.default, right), left)
    return editor.call(before, target, right, left)
