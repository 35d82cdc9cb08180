"""Operands without dimensions are converted to the type that torch computes in.

A tensor without dimensions counts less than one with dimensions: uint8 beside an int32 number stays uint8, and the
number wraps. The kernels of ExecuTorch 1.5 look at the types alone. There a comparison is made in int32, and 0.1 of
float64 differs from 0.1 of float32.
"""

from __future__ import annotations

import functools

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, aten, is_tensor, value

_ARITHMETIC = (
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.rsub.Tensor,
)
_PROMOTING = (
    *_ARITHMETIC,
    aten.eq.Tensor,
    aten.ne.Tensor,
    aten.lt.Tensor,
    aten.le.Tensor,
    aten.gt.Tensor,
    aten.ge.Tensor,
    aten.maximum.default,
    aten.minimum.default,
    aten.max.other,
    aten.min.other,
    aten.remainder.Tensor,
    aten.fmod.Tensor,
    aten.floor_divide.default,
    aten.div.Tensor_mode,
    aten.bitwise_and.Tensor,
    aten.bitwise_or.Tensor,
    aten.bitwise_xor.Tensor,
    aten.bitwise_left_shift.Tensor,
    aten.bitwise_right_shift.Tensor,
    aten.__and__.Tensor,
    aten.__or__.Tensor,
    aten.__xor__.Tensor,
    aten.__lshift__.Tensor,
    aten.__rshift__.Tensor,
    aten.pow.Tensor_Tensor,
    aten.atan2.default,
    aten.clamp.Tensor,
    aten.clamp_min.Tensor,
    aten.clamp_max.Tensor,
    aten.where.self,
)
_HALF = (torch.float16, torch.bfloat16)


def promote_operands(ep: ExportedProgram) -> bool:
    """Converts operands without dimensions where their type would change the result; in place."""
    editor = GraphEditor(ep)
    for node in [n for n in ep.graph.nodes if n.op == "call_function" and n.target in _PROMOTING]:
        condition = node.args[:1] if node.target is aten.where.self else ()
        operands = [x for x in (*node.args[len(condition) :], *node.kwargs.values()) if is_tensor(x)]
        common = _common(operands)
        if common is None or (common in _HALF and node.target in _ARITHMETIC):
            continue  # torch multiplies fp16 by the number as it is
        for operand in operands:
            if not value(operand).dim() and value(operand).dtype is not common:
                typed = editor.call(node, aten._to_copy.default, operand, dtype=common)
                node.args = (*condition, *(typed if x is operand else x for x in node.args[len(condition) :]))
                node.kwargs = {name: typed if x is operand else x for name, x in node.kwargs.items()}
                editor.changed = True
    return editor.finish()


def _common(operands: list[Node]) -> torch.dtype | None:
    """The type that torch computes in, if it is another than that of the operands' types alone."""
    if len(operands) < 2:
        return None
    parts: dict[int, torch.dtype] = {}  # the common type of the operands with dimensions, and of those without
    for operand in operands:
        has = min(value(operand).dim(), 1)
        kind = value(operand).dtype
        parts[has] = torch.promote_types(parts[has], kind) if has in parts else kind
    if len(parts) < 2:
        return None
    with_dimensions, without = (torch.empty((1,) * has, dtype=parts[has], device="meta") for has in (1, 0))
    common = torch.result_type(with_dimensions, without)
    return None if common is functools.reduce(torch.promote_types, parts.values()) else common
