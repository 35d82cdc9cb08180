"""Numbers beside halves keep their digits.

torch computes ``x * 1e-8`` of a float16 tensor in F32, and rounds the product. ExecuTorch makes a float16 tensor of the
number first, which is 0 then; 1e5 is infinite, and 0.3 another number. Where that matters, the operator is one of
float32.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from ._graph import GraphEditor, argument, aten, is_tensor, nodes_of, value

_OPERATORS = (
    aten.add.Tensor,
    aten.add.Scalar,
    aten.sub.Tensor,
    aten.sub.Scalar,
    aten.rsub.Scalar,
    aten.mul.Tensor,
    aten.mul.Scalar,
    aten.div.Tensor,
    aten.div.Scalar,
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
)


def widen_numbers(ep: ExportedProgram) -> bool:
    """Computes sums, products and quotients of halves and numbers that are no halves in float32; in place."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_OPERATORS):
        tensor, number = node.args[:2]
        if not is_tensor(tensor) or isinstance(number, bool) or not isinstance(number, (int, float)):
            continue
        half = value(node).dtype
        if half not in (torch.float16, torch.bfloat16) or value(tensor).dtype is not half:
            continue
        held = float(torch.tensor(number, dtype=torch.float64).to(half))
        if held == number or number != number or argument(node, 2, "rounding_mode") == "floor":
            continue
        wide = editor.call(node, aten._to_copy.default, tensor, dtype=torch.float32)
        assert callable(node.target)
        result = editor.call(node, node.target, wide, *node.args[1:], **node.kwargs)
        editor.replace(node, editor.call(node, aten._to_copy.default, result, dtype=half))
    return editor.finish()
