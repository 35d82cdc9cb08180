"""Powers with an exponent, or a base, that is one number kept in a tensor.

Graphs that came through ONNX write `x ** 2` of a normalisation that way. As a number it is part of the operation, which
then needs no kernel for exponents that differ.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, aten, is_delegable, is_tensor, nodes_of, same_shape, shape, value
from .negative_zeros import is_negative_zero


def use_constant_powers(ep: ExportedProgram) -> bool:
    """Replaces, in place, `pow` of two tensors of which one holds a single number; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.pow.Tensor_Tensor):
        base, exponent = args_of(node)[:2]
        if not (is_tensor(base) and is_tensor(exponent) and is_delegable(node)):
            continue
        number = _number(editor, exponent)
        if number is not None and value(base).dtype == value(node).dtype:
            editor.replace(node, _widened(editor, node, aten.pow.Tensor_Scalar, base, number))
            continue
        number = _number(editor, base)
        if number is not None and value(exponent).dtype == value(node).dtype:
            editor.replace(node, _widened(editor, node, aten.pow.Scalar, exponent, number))
    return editor.finish()


def _number(editor: GraphEditor, node: Node) -> int | float | None:
    """The one number in a constant tensor."""
    data = editor.constant(node)
    if data is None or data.numel() == 0 or data.dtype is torch.bool or data.is_complex():
        return None
    first = data.reshape(-1)[0]
    number: int | float = first.item()
    if is_negative_zero(number):  # a program file would hold 0.0
        return None
    return number if bool((data == first).all()) else None


def _widened(editor: GraphEditor, node: Node, target: torch._ops.OpOverload, x: Node, number: int | float) -> Node:
    """The operation on a tensor of the result's shape, which the constant may have given it."""
    if not same_shape(shape(x), shape(node)):
        x = editor.call(node, aten.expand.default, x, list(shape(node)))
    args = (x, number) if target is aten.pow.Tensor_Scalar else (number, x)
    return editor.call(node, target, *args)
