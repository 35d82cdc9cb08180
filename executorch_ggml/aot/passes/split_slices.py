"""The pieces of a split as slices, where a size is dynamic.

Decomposing a split fixes dynamic sizes of other dimensions to those of the example (torch 2.13); a slice does not.
"""

from __future__ import annotations

import operator

from torch.export import ExportedProgram

from ._graph import GraphEditor, args_of, aten, dim_index, is_call, is_tensor, nodes_of, shape


def split_by_slices(ep: ExportedProgram) -> bool:
    """Replace, in place, splits of tensors with dynamic sizes by slices; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.split.Tensor, aten.split_with_sizes.default):
        source = args_of(node)[0]
        if not is_tensor(source) or all(isinstance(d, int) for d in shape(source)):
            continue
        dim = dim_index(node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0), len(shape(source)))
        sizes = [piece.shape[dim] for piece in node.meta["val"]]
        picks = list(node.users)
        if not all(isinstance(s, int) for s in sizes) or not all(is_call(p, operator.getitem) for p in picks):
            continue
        for pick in picks:
            at = int(str(pick.args[1]))
            start = sum(sizes[:at])
            editor.replace(pick, editor.call(pick, aten.slice.Tensor, source, dim, start, start + sizes[at]))
    return editor.finish()
