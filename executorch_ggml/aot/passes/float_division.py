"""Quotients of floats, rounded down, in the steps in which torch computes them.

ExecuTorch 1.5 subtracts the remainder, divides, and does not round the quotient: -286 // 0.3 is -954.00006. It computes
float16 in float32, where torch rounds every step to float16.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, argument, aten, is_tensor, nodes_of, value


def divide_floats(ep: ExportedProgram) -> bool:
    """Writes such quotients of two tensors out, in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.div.Tensor_mode, aten.floor_divide.default):
        x, y = node.args[:2]
        dtype = value(node).dtype
        if not dtype.is_floating_point or argument(node, 2, "rounding_mode", "floor") != "floor":
            continue
        if not is_tensor(x) or not is_tensor(y):
            continue
        # Beside a tensor with dimensions a divisor without is a number, which keeps its digits.
        single = dtype.itemsize == 2 and value(x).dim() > value(y).dim() == 0
        x, y = (_of_type(editor, node, _buffer(editor, v), torch.float32 if single else dtype) for v in (x, y))
        editor.replace(node, _of_type(editor, node, _floored(editor, node, x, y), dtype))
    return editor.finish()


def _buffer(editor: GraphEditor, x: Node) -> Node:
    """A constant as a buffer: torch loses a lifted one that a delegate and the host both read more than once."""
    data = editor.constant(x)
    return x if data is None else editor.add_constant(data, x.name)


def _of_type(editor: GraphEditor, at: Node, x: Node, dtype: torch.dtype) -> Node:
    return x if value(x).dtype is dtype else editor.call(at, aten._to_copy.default, x, dtype=dtype)


def _floored(editor: GraphEditor, at: Node, x: Node, y: Node) -> Node:
    rest = editor.call(at, aten.fmod.Tensor, x, y)
    quotient = editor.call(at, aten.div.Tensor, editor.call(at, aten.sub.Tensor, x, rest), y)
    signs = [editor.call(at, aten.lt.Scalar, v, 0) for v in (y, rest)]
    differ = editor.call(at, aten.ne.Tensor, *signs)
    below = editor.call(at, aten.logical_and.default, differ, editor.call(at, aten.ne.Scalar, rest, 0))
    quotient = editor.call(at, aten.where.self, below, editor.call(at, aten.sub.Tensor, quotient, 1), quotient)
    down = editor.call(at, aten.floor.default, quotient)
    above = editor.call(at, aten.gt.Scalar, editor.call(at, aten.sub.Tensor, quotient, down), 0.5)
    whole = editor.call(at, aten.where.self, above, editor.call(at, aten.add.Tensor, down, 1), down)
    divides = editor.call(at, aten.ne.Scalar, y, 0)
    return editor.call(at, aten.where.self, divides, whole, editor.call(at, aten.div.Tensor, x, y))
