"""A part written into a tensor of another type, converted to that type before.

torch converts it within `select_scatter` and the like. Their decompositions promote both instead, so that the result has
another type.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import GraphEditor, args_of, aten, is_tensor, nodes_of, value

_WRITES = (
    aten.slice_scatter.default,
    aten.select_scatter.default,
    aten.diagonal_scatter.default,
    aten.as_strided_scatter.default,
)


def convert_written(ep: ExportedProgram) -> bool:
    """Converts, in place, each written part whose type is not that of the tensor; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_WRITES):
        x, part = args_of(node)[:2]
        if is_tensor(x) and is_tensor(part) and value(x).dtype != value(part).dtype:
            node.update_arg(1, editor.call(node, aten._to_copy.default, part, dtype=value(x).dtype))
    return editor.finish()
