"""Circular padding as concatenation: the end of a dimension, the dimension, its beginning.

Its decomposition writes into an empty tensor piece by piece, which no delegate can take whole.
"""

from __future__ import annotations

import sys

from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_delegable, nodes_of, shape


def expand_circular_pads(ep: ExportedProgram) -> bool:
    """Replace, in place, circular pads of constant widths; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.pad.default):
        source, widths = args_of(node)[:2]
        if argument(node, 2, "mode", "constant") != "circular" or not is_delegable(source):
            continue
        if all(isinstance(w, int) and w >= 0 for w in widths):
            editor.replace(node, _wrapped(editor, node, source, list(widths)))
    return editor.finish()


def _wrapped(editor: GraphEditor, before: Node, x: Node, widths: list[int]) -> Node:
    rank = len(shape(x))
    for i in range(len(widths) // 2):
        left, right = widths[2 * i : 2 * i + 2]
        dim = rank - 1 - i
        parts = [x]
        if left:
            parts.insert(0, editor.call(before, aten.slice.Tensor, x, dim, -left, sys.maxsize))
        if right:
            parts.append(editor.call(before, aten.slice.Tensor, x, dim, 0, right))
        if len(parts) > 1:
            x = editor.call(before, aten.cat.default, parts, dim)
    return x
