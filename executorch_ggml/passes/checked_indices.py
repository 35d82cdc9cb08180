"""Positions that eager torch checks, where what they are decomposed into no longer does.

`one_hot` compares, and zeros come out of a class that does not exist. `index_add` and `index_copy` become `index_put`,
which counts -1 from the end. So their positions first look themselves up in a table of 0, 1, 2, ...: rows that do not
exist are an error wherever that runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import (
    GraphEditor,
    args_of,
    argument,
    aten,
    dim_index,
    is_delegable,
    is_tensor,
    nodes_of,
    same_dim,
    shape,
    value,
)


def check_indices(ep: ExportedProgram) -> bool:
    """Rewrite, in place, what would take positions that torch refuses; True if there was something."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.one_hot.default):
        _one_hot(editor, node)
    for node in nodes_of(editor.graph, aten.take_along_dim.default):
        _take_along_dim(editor, node)
    for node in nodes_of(editor.graph, aten.index_put.default, aten.index_put_.default):
        _masked_put(editor, node)
    for target in (aten.index_add.default, aten.index_copy.default, aten.index_reduce.default):
        nodes = nodes_of(editor.graph, target)
        # Those of floats are lowered whole, and checked there. The exporter decomposes all of an operator or none.
        if not all(is_delegable(node) for node in nodes):
            for node in nodes:
                _along(editor, node)
    return editor.finish()


def _checked(editor: GraphEditor, before: Node, index: Node, rows: Any) -> Node:
    """`index`, which is an error where it does not name one of so many rows."""
    if isinstance(rows, int):
        table = editor.add_constant(torch.arange(rows)[:, None], "rows")
    else:
        table = editor.call(before, aten.unsqueeze.default, editor.call(before, aten.arange.default, rows), 1)
    found = editor.call(before, aten.embedding.default, table, index)
    return editor.call(before, aten.squeeze.dim, found, -1)


def _size(editor: GraphEditor, before: Node, x: Node, dim: int) -> Any:
    size = shape(x)[dim]
    return size if isinstance(size, int) else editor.call(before, aten.sym_size.int, x, dim)


def _one_hot(editor: GraphEditor, node: Node) -> None:
    index, classes = args_of(node)[0], argument(node, 1, "num_classes", -1)
    if not is_tensor(index) or not isinstance(classes, int) or classes < 1:
        return
    known = editor.call(node, aten.unsqueeze.default, _checked(editor, node, index, classes), -1)
    same = editor.call(node, aten.eq.Tensor, known, editor.add_constant(torch.arange(classes), "classes"))
    editor.replace(node, editor.call(node, aten._to_copy.default, same, dtype=torch.int64))


def _take_along_dim(editor: GraphEditor, node: Node) -> None:
    """As a gather. torch takes any integer here, modulo the size of the dimension."""
    x, index = args_of(node)[:2]
    dim = argument(node, 2, "dim")
    if not is_tensor(x) or not is_tensor(index):
        return
    if dim is None:
        x = editor.call(node, aten.reshape.default, x, [-1])
        index = editor.call(node, aten.reshape.default, index, [-1])
        dim = 0
    rank = len(shape(x))
    dim = dim_index(dim, rank)
    for d in range(rank):
        left, right = shape(x)[d], shape(index)[d]
        if d == dim or same_dim(left, right):
            continue
        if right == 1:
            index = _expanded(editor, node, index, d, _size(editor, node, x, d))
        elif left == 1:
            x = _expanded(editor, node, x, d, _size(editor, node, index, d))
        else:
            return
    rest = editor.call(node, aten.remainder.Scalar, index, _size(editor, node, x, dim))
    editor.replace(node, editor.call(node, aten.gather.default, x, dim, rest))


def _expanded(editor: GraphEditor, before: Node, x: Node, dim: int, size: Any) -> Node:
    sizes = [size if d == dim else -1 for d in range(len(shape(x)))]
    return editor.call(before, aten.expand.default, x, sizes)


def _masked_put(editor: GraphEditor, node: Node) -> None:
    """`x[mask] = value` as a choice, where the value is one for all places or one for each of an entry."""
    x, indices, values = args_of(node)[:3]
    if not is_tensor(x) or not is_tensor(values) or len(indices) != 1 or not is_tensor(indices[0]):
        return
    mask = indices[0]
    if value(mask).dtype is not torch.bool or argument(node, 3, "accumulate", False):
        return
    rank, masked, given = len(shape(x)), len(shape(mask)), len(shape(values))
    # Values of a rank that reaches the places themselves are one for each true one, in order.
    if given > rank - masked and any(s != 1 for s in shape(values)[: given - (rank - masked)]):
        return
    for _ in range(rank - masked):
        mask = editor.call(node, aten.unsqueeze.default, mask, -1)
    if given > rank - masked:
        values = editor.call(node, aten.reshape.default, values, list(shape(values)[given - (rank - masked) :]))
    if value(values).dtype is not value(x).dtype:
        return
    editor.replace(node, editor.call(node, aten.where.self, mask, values, x))


def _along(editor: GraphEditor, node: Node) -> None:
    x, dim, index = args_of(node)[:3]
    if not is_tensor(x) or not is_tensor(index) or not shape(x) or editor.is_mutated_buffer(x):
        return
    rows = _size(editor, node, x, dim_index(dim, len(shape(x))))
    node.update_arg(2, _checked(editor, node, index, rows))
    editor.changed = True
