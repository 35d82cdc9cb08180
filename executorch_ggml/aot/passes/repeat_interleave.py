"""`repeat_interleave` by a number as an expanded dimension.

Its decomposition reads the entries by computed positions.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_tensor, nodes_of, shape


def expand_repeats(ep: ExportedProgram) -> bool:
    """Replace, in place, `x.repeat_interleave(k, dim)` by unsqueeze, expand and reshape; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.repeat_interleave.self_int):
        source, times = args_of(node)[:2]
        dim = argument(node, 2, "dim")
        if not is_tensor(source) or not isinstance(times, int) or dim is None or not shape(source):
            continue
        rank = len(shape(source))
        at = dim_index(dim, rank)
        # One size may be left to be worked out: the repeated one, unless another is dynamic too.
        if sum(not isinstance(d, int) for i, d in enumerate(shape(source)) if i != at):
            continue
        wide = editor.call(node, aten.unsqueeze.default, source, at + 1)
        counts = [-1] * (rank + 1)
        counts[at + 1] = times
        wide = editor.call(node, aten.expand.default, wide, counts)
        sizes = [-1 if i == at else d for i, d in enumerate(shape(source))]
        editor.replace(node, editor.call(node, aten.reshape.default, wide, sizes))
    return editor.finish()
