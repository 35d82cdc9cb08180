"""Group, instance and layer norms of float64 as means.

ExecuTorch 1.5's kernel of the first two takes the mean of squares less the square of the mean. Where the mean is a
hundred times the deviation, three digits are left. That of the last computes in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_tensor, nodes_of, shape, value


def expand_float64_norms(ep: ExportedProgram) -> bool:
    """Replace them, in place; True if there was one. Sizes may be dynamic, but for the channels."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.group_norm.default, aten.instance_norm.default):
        x, groups = args_of(node)[:2]
        if node.target is aten.instance_norm.default:
            groups = shape(x)[1] if argument(node, 5, "use_input_stats") else None  # else it is a batch norm
        if is_tensor(x) and value(x).dtype is torch.float64 and isinstance(groups, int):
            editor.replace(node, _group_norm(editor, node, x, groups))
    for node in nodes_of(ep.graph, aten.layer_norm.default):
        x, sizes = args_of(node)[:2]
        if is_tensor(x) and value(x).dtype is torch.float64:
            result = _centred(editor, node, x, list(range(-len(sizes), 0)), argument(node, 4, "eps", 1e-5))
            editor.replace(node, _scaled(editor, node, result, 2, []))
    return editor.finish()


def _group_norm(editor: GraphEditor, node: Node, x: Node, groups: int) -> Node:
    instance = node.target is aten.instance_norm.default
    eps = argument(node, 7 if instance else 4, "eps", 1e-5)
    rank, channels = len(shape(x)), int(shape(x)[1])
    rows = editor.call(node, aten.unflatten.int, x, 1, [groups, channels // groups])
    rows = _centred(editor, node, rows, list(range(2, rank + 1)), eps)
    result = editor.call(node, aten.flatten.using_ints, rows, 1, 2)
    return _scaled(editor, node, result, 1 if instance else 2, [1, channels] + [1] * (rank - 2))


def _scaled(editor: GraphEditor, node: Node, x: Node, weight_at: int, wide: list[int]) -> Node:
    """Times the weight, plus the bias, if the operator has them. ``wide``: their shape beside ``x``."""
    for place, name, target in ((weight_at, "weight", aten.mul.Tensor), (weight_at + 1, "bias", aten.add.Tensor)):
        factor = argument(node, place, name)
        if is_tensor(factor):
            factor = editor.call(node, aten.reshape.default, factor, wide) if wide else factor
            x = editor.call(node, target, x, factor)
    return x


def _centred(editor: GraphEditor, node: Node, x: Node, dims: list[int], eps: float) -> Node:
    """(x - mean) / sqrt(variance + eps) over these dimensions."""

    def call(target: Any, *args: Any) -> Node:
        return editor.call(node, target, *args)

    apart = call(aten.sub.Tensor, x, call(aten.mean.dim, x, dims, True))
    spread = call(aten.mean.dim, call(aten.mul.Tensor, apart, apart), dims, True)
    return call(aten.mul.Tensor, apart, call(aten.rsqrt.default, call(aten.add.Tensor, spread, eps)))
