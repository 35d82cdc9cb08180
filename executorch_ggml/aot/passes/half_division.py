"""Quotients of two float16 or bfloat16 tensors, rounded down, in torch's steps.

torch rounds every step to a half: the dividend without its remainder, its quotient, the correction. ExecuTorch divides
in float32, which gives another whole number where a step was rounded.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, argument, aten, is_tensor, nodes_of, value


def divide_halves(ep: ExportedProgram) -> bool:
    """Writes such quotients out, in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.div.Tensor_mode, aten.floor_divide.default):
        x, y = node.args[:2]
        half = value(node).dtype
        if half not in (torch.float16, torch.bfloat16) or argument(node, 2, "rounding_mode", "floor") != "floor":
            continue
        if all(is_tensor(v) and value(v).dtype is half and value(v).dim() for v in (x, y)):
            editor.replace(node, _floored(editor, node, x, y))  # type: ignore[arg-type]
    return editor.finish()


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
