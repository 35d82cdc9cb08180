"""Numbers beside a tensor without dimensions get its type.

ExecuTorch makes tensors of the numbers in a program, int64 or float32. Beside a tensor with dimensions they do not
count; beside one without, they decide the type of the result: an int32 counter plus 1 would be int64.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from ._graph import GraphEditor, aten, is_tensor, nodes_of, value

_TENSOR_FORM = {
    aten.add.Tensor: aten.add.Tensor,
    aten.add.Scalar: aten.add.Tensor,
    aten.sub.Tensor: aten.sub.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
    aten.mul.Tensor: aten.mul.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.div.Tensor: aten.div.Tensor,
    aten.div.Scalar: aten.div.Tensor,
}
_WIDE = (torch.int64, torch.float32, torch.float64, torch.bool)


def type_numbers(ep: ExportedProgram) -> bool:
    """Writes the numbers of such sums, differences, products and quotients as tensors; in place."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_TENSOR_FORM):
        tensor, number = node.args[:2]
        if not is_tensor(tensor) or not isinstance(number, (int, float)) or value(tensor).dim():
            continue
        kind = value(node).dtype
        if kind in _WIDE or value(tensor).dtype is not kind:
            continue
        typed = editor.call(node, aten.full.default, [], number, dtype=kind)
        target = _TENSOR_FORM[node.target]  # type: ignore[index]
        editor.replace(node, editor.call(node, target, tensor, typed, *node.args[2:], **node.kwargs))
    return editor.finish()
