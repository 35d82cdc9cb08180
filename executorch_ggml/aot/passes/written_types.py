"""A part written into a tensor of another type, or beside others, converted to the type of the result before.

torch converts it within `select_scatter` and the like. Their decompositions promote both instead, so that the result
has another type. `x[mask] = number` of a tensor of another type is one, too; ExecuTorch refuses it.
ExecuTorch's `cat` of several types copies bytes, where their sizes are equal: 2 becomes 2.8e-45.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, aten, is_tensor, nodes_of, value

# The place of the written part.
_WRITES = {
    aten.slice_scatter.default: 1,
    aten.select_scatter.default: 1,
    aten.diagonal_scatter.default: 1,
    aten.as_strided_scatter.default: 1,
    aten.index_put.default: 2,
}


def convert_written(ep: ExportedProgram) -> bool:
    """Converts, in place, each part of another type than the result; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_WRITES):
        place = _WRITES[node.target]  # type: ignore[index]
        x, part = args_of(node)[0], args_of(node)[place]
        if is_tensor(x) and is_tensor(part) and value(x).dtype != value(part).dtype:
            node.update_arg(place, _converted(editor, node, part))
    for node in nodes_of(ep.graph, aten.cat.default, aten.stack.default):
        parts = list(args_of(node)[0])
        if any(value(p).dtype != value(node).dtype for p in parts):
            node.update_arg(0, [_converted(editor, node, p) for p in parts])
            editor.changed = True
    for node in nodes_of(ep.graph, aten.where.self):
        if all(value(p).dtype != value(node).dtype for p in args_of(node)[1:]):  # float16 and bfloat16
            for place in (1, 2):
                node.update_arg(place, _converted(editor, node, args_of(node)[place]))
    return editor.finish()


def _converted(editor: GraphEditor, at: Node, part: Node) -> Node:
    same = value(part).dtype == value(at).dtype
    return part if same else editor.call(at, aten._to_copy.default, part, dtype=value(at).dtype)
