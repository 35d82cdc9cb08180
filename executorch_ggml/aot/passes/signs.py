"""The sign of float64 from two comparisons, so that it is 0 for NaN. ExecuTorch 1.5 gives NaN."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from ._graph import GraphEditor, aten, is_tensor, nodes_of, value


def compare_for_signs(ep: ExportedProgram) -> bool:
    """Rewrites them in place; True if there was one. Other types are ggml's, which does the same."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.sign.default, aten.sgn.default):
        x = node.args[0]
        if not is_tensor(x) or value(x).dtype is not torch.float64:
            continue
        above, below = (
            editor.call(node, aten._to_copy.default, editor.call(node, compare, x, 0), dtype=torch.float64)
            for compare in (aten.gt.Scalar, aten.lt.Scalar)
        )
        editor.replace(node, editor.call(node, aten.sub.Tensor, above, below))
    return editor.finish()
