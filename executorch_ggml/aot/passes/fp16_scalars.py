"""Factors and divisors beside float16 and bfloat16 keep their digits.

torch computes ``x * 1e-8`` of a float16 tensor in F32, and rounds the product. ExecuTorch makes a float16 tensor of the
number first, which is 0 then; 1e5 is infinite, and 0.3 another number. Where that matters, the operator is one of
float32. Numbers that are added or subtracted are rounded by torch, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram

from ._graph import GraphEditor, argument, aten, is_tensor, nodes_of, value

_OPERATORS = (
    aten.mul.Tensor,
    aten.mul.Scalar,
    aten.div.Tensor,
    aten.div.Scalar,
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
)
_FP16_TYPES = (torch.float16, torch.bfloat16)


def widen_numbers(ep: ExportedProgram) -> bool:
    """Computes products and quotients of float16 tensors and inexact numbers in float32; in place."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, *_OPERATORS):
        tensor, number = node.args[:2]
        narrow = value(node).dtype
        if narrow not in _FP16_TYPES or not is_tensor(tensor) or value(tensor).dtype is not narrow:
            continue
        if argument(node, 2, "rounding_mode") == "floor" or not _loses(number, narrow, value(tensor).dim()):
            continue
        assert callable(node.target)
        wide = editor.call(node, aten._to_copy.default, tensor, dtype=torch.float32)
        result = editor.call(node, node.target, wide, *node.args[1:], **node.kwargs)
        editor.replace(node, editor.call(node, aten._to_copy.default, result, dtype=narrow))
    return editor.finish()


def _loses(number: Any, narrow: torch.dtype, rank: int) -> bool:
    """Whether a number, or a tensor without dimensions, has digits that the 16-bit type lacks."""
    if is_tensor(number):
        return rank > 0 and value(number).dim() == 0 and value(number).dtype is torch.float32
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return False
    return float(torch.tensor(number, dtype=torch.float64).to(narrow)) != number and number == number
