"""Group and layer norms of float64 as means.

ExecuTorch 1.5's kernel of the first takes the mean of squares less the square of the mean: where the mean is a hundred
times the deviation, three digits are left. That of the second computes in float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_tensor, nodes_of, shape, value


def expand_float64_norms(ep: ExportedProgram) -> bool:
    """Replace, in place, those of known size; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.group_norm.default):
        x, groups = args_of(node)[:2]
        if not is_tensor(x) or value(x).dtype is not torch.float64 or not all(isinstance(d, int) for d in shape(x)):
            continue
        editor.replace(node, _normalised(editor, node, x, groups))
    for node in nodes_of(ep.graph, aten.layer_norm.default):
        x, sizes = args_of(node)[:2]
        if is_tensor(x) and value(x).dtype is torch.float64:
            editor.replace(node, _layer_norm(editor, node, x, len(sizes)))
    return editor.finish()


def _normalised(editor: GraphEditor, node: Node, x: Node, groups: int) -> Node:
    def call(target: Any, *args: Any) -> Node:
        return editor.call(node, target, *args)

    batch, channels = int(shape(x)[0]), int(shape(x)[1])
    rows = call(aten.reshape.default, x, [batch, groups, value(x).numel() // max(1, batch * groups)])
    result = call(aten.reshape.default, _centred(editor, node, rows, [2]), list(shape(x)))
    wide = [1, channels] + [1] * (len(shape(x)) - 2)
    for place, name, target in ((2, "weight", aten.mul.Tensor), (3, "bias", aten.add.Tensor)):
        factor = argument(node, place, name)
        if is_tensor(factor):
            result = call(target, result, call(aten.reshape.default, factor, wide))
    return result


def _layer_norm(editor: GraphEditor, node: Node, x: Node, dims: int) -> Node:
    result = _centred(editor, node, x, list(range(-dims, 0)))
    for place, name, target in ((2, "weight", aten.mul.Tensor), (3, "bias", aten.add.Tensor)):
        factor = argument(node, place, name)
        if is_tensor(factor):
            result = editor.call(node, target, result, factor)
    return result


def _centred(editor: GraphEditor, node: Node, x: Node, dims: list[int]) -> Node:
    """(x - mean) / sqrt(variance + eps) over these dimensions."""

    def call(target: Any, *args: Any) -> Node:
        return editor.call(node, target, *args)

    apart = call(aten.sub.Tensor, x, call(aten.mean.dim, x, dims, True))
    spread = call(aten.mean.dim, call(aten.mul.Tensor, apart, apart), dims, True)
    scale = call(aten.rsqrt.default, call(aten.add.Tensor, spread, argument(node, 4, "eps", 1e-5)))
    return call(aten.mul.Tensor, apart, scale)
