"""Reflecting and repeating pads by the operator of their rank, which can be kept whole.

``aten.pad`` is decomposed into arithmetic on positions, on the host where a size is dynamic.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import GraphEditor, args_of, argument, aten, is_delegable, nodes_of

_BY_MODE = {
    "reflect": (aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d),
    "replicate": (aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d),
}


def name_pads(ep: ExportedProgram) -> bool:
    """Replace, in place, pads of constant widths that are not negative; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.pad.default):
        source, widths = args_of(node)[:2]
        named = _BY_MODE.get(str(argument(node, 2, "mode", "constant")))
        if named is None or not is_delegable(source) or len(widths) not in (2, 4, 6):
            continue
        if all(isinstance(w, int) and w >= 0 for w in widths):
            operator = named[len(widths) // 2 - 1].default
            editor.replace(node, editor.call(node, operator, source, list(widths)))
    return editor.finish()
