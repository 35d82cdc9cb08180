"""Mixture of experts: a product with a matrix chosen per row, without copying the matrices.

A batched formulation gathers one weight matrix for every row (`weights[ids]`, as much memory as rows times a matrix)
and multiplies them in a batch. `mul_mat_id` reads each row's matrix where it is.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot import custom_ops as _custom_ops  # registers mul_mat_id

from ._graph import (
    GraphEditor,
    args_of,
    argument,
    aten,
    dim_index,
    is_call,
    is_delegable,
    is_tensor,
    nodes_of,
    same_dim,
    shape,
    value,
)

assert _custom_ops

_UNSQUEEZE = (aten.unsqueeze.default,)
_SQUEEZE = (aten.squeeze.dim, aten.squeeze.dims)


def _gathered(node: object) -> tuple[Node, Node] | None:
    """(weights [E, N, K], ids [S]) of `weights[ids]`."""
    if not is_call(node, aten.index.Tensor):
        return None
    weights, indices = args_of(node)[:2]
    if not is_delegable(weights) or len(shape(weights)) != 3 or len(indices) != 1:
        return None
    ids = indices[0]
    if not is_tensor(ids) or len(shape(ids)) != 1 or value(ids).dtype.is_floating_point:
        return None
    return weights, ids


def _column(node: object) -> Node | None:
    """x [S, K] of `x.unsqueeze(-1)`."""
    if not is_call(node, *_UNSQUEEZE) or not is_delegable(node) or len(shape(node)) != 3:
        return None
    return args_of(node)[0] if dim_index(args_of(node)[1], 3) == 2 else None


def _squeezed(node: Node) -> Node | None:
    """The only user of a product [S, N, 1], when it drops the last dimension."""
    users = list(node.users)
    if len(users) != 1 or not is_call(users[0], *_SQUEEZE):
        return None
    dims = args_of(users[0])[1]
    dims = [dims] if isinstance(dims, int) else list(dims)
    return users[0] if [dim_index(d, 3) for d in dims] == [2] else None


def fuse_experts(ep: ExportedProgram) -> bool:
    """Replace, in place, `bmm(weights[ids], x[..., None])[..., 0]` by `mul_mat_id`; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.bmm.default):
        gathered, x = _gathered(args_of(node)[0]), _column(args_of(node)[1])
        result = _squeezed(node)
        if gathered is None or x is None or result is None or value(node).dtype != value(x).dtype:
            continue
        weights, ids = gathered
        if not same_dim(shape(x)[0], shape(ids)[0]) or argument(node, 2, "out_dtype") is not None:
            continue
        rows = editor.call(result, aten.unsqueeze.default, x, 1)
        chosen = editor.call(result, aten.unsqueeze.default, ids, 1)
        product = editor.call(result, torch.ops.executorch_ggml.mul_mat_id.default, weights, rows, chosen)
        editor.replace(result, editor.call(result, aten.squeeze.dim, product, 1))
    return editor.finish()
