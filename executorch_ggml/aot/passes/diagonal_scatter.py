"""`diagonal_scatter` as a choice between a tensor and another one that has the new diagonal in its place.

Neither ggml nor ExecuTorch has a kernel for it.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_tensor, nodes_of, shape


def expand_diagonal_scatters(ep: ExportedProgram) -> bool:
    """Replace, in place, those of matrices of known size (any number of them); True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.diagonal_scatter.default):
        x, diagonal = args_of(node)[:2]
        if not is_tensor(x) or not is_tensor(diagonal):
            continue
        offset = argument(node, 2, "offset", 0)
        rank = len(shape(x))
        first, second = (dim_index(argument(node, i, f"dim{i - 2}", i - 3), rank) for i in (3, 4))
        rows, columns = shape(x)[first], shape(x)[second]
        length = shape(diagonal)[-1]
        if isinstance(rows, int) and isinstance(columns, int) and length == _length(rows, columns, offset):
            editor.replace(node, _chosen(editor, node, x, diagonal, offset, first, second))
    return editor.finish()


def _length(rows: int, columns: int, offset: int) -> int:
    """Of a diagonal; torch.export lets other lengths through, and eager refuses them."""
    return min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)


def _chosen(editor: GraphEditor, at: Node, x: Node, diagonal: Node, offset: int, first: int, second: int) -> Node:
    order = [d for d in range(len(shape(x))) if d not in (first, second)] + [first, second]
    rows, columns = int(shape(x)[first]), int(shape(x)[second])
    wide = editor.call(at, aten.permute.default, x, order)
    # Element i of the diagonal is in row i where the offset moves it to the right, in column i where it moves it down.
    size = rows if offset >= 0 else columns
    padding = size - int(shape(diagonal)[-1])
    if padding:
        diagonal = editor.call(at, aten.constant_pad_nd.default, diagonal, [0, padding])
    spread = editor.call(at, aten.unsqueeze.default, diagonal, -1 if offset >= 0 else -2)
    place = torch.zeros(rows, columns, dtype=torch.bool)
    place.diagonal(offset).fill_(True)
    mask = editor.add_constant(place, "diagonal")
    chosen = editor.call(at, aten.where.self, mask, spread, wide)
    back = [order.index(d) for d in range(len(order))]
    return editor.call(at, aten.permute.default, chosen, back)
