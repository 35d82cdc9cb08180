"""``a + alpha * b`` where ``a`` is, or may be, a single element: the product is written out.

ExecuTorch 1.5 exchanges the operands of such a sum, and then multiplies ``a`` by alpha.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, argument, aten, is_tensor, nodes_of, shape, value

_OPMATH = {torch.float16: torch.float32, torch.bfloat16: torch.float32}
"""Types in which torch does not round the product."""


def write_scaled_sums(ep: ExportedProgram) -> bool:
    """Does so in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.add.Tensor):
        alpha = argument(node, 2, "alpha", 1)
        a, b = node.args[:2]
        if alpha == 1 or not is_tensor(a) or not is_tensor(b) or not _may_be_single(a):
            continue
        dtype = value(node).dtype
        exact = _OPMATH.get(dtype, dtype)
        a, b = (_of_type(editor, node, x, exact) for x in (a, b))
        scaled = editor.call(node, aten.mul.Scalar, b, alpha)
        editor.replace(node, _of_type(editor, node, editor.call(node, aten.add.Tensor, a, scaled), dtype))
    return editor.finish()


def _may_be_single(x: Node) -> bool:
    return all(not isinstance(size, int) or size == 1 for size in shape(x))


def _of_type(editor: GraphEditor, at: Node, x: Node, dtype: torch.dtype) -> Node:
    return x if value(x).dtype is dtype else editor.call(at, aten._to_copy.default, x, dtype=dtype)
