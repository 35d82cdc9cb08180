"""Positions that eager torch checks, where their decomposition no longer does.

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
    """Rewrite, in place, nodes that would take positions that torch refuses; True if there were any."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.one_hot.default):
        _one_hot(editor, node)
    for node in nodes_of(editor.graph, aten.take_along_dim.default):
        _take_along_dim(editor, node)
    for node in nodes_of(editor.graph, aten.index_put.default, aten.index_put_.default):
        _masked_put(editor, node)
    for node in nodes_of(editor.graph, aten.index_fill.int_Scalar, aten.index_fill.int_Tensor):
        _fill(editor, node)
    for node in nodes_of(editor.graph, aten.diagonal_scatter.default):
        if not is_delegable(node):
            _diagonal(editor, node)
    for node in nodes_of(editor.graph, aten.as_strided_scatter.default):
        _strided(editor, node)
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
        table = _constant(editor, before, torch.arange(rows)[:, None])
    else:
        table = editor.call(before, aten.unsqueeze.default, editor.call(before, aten.arange.default, rows), 1)
    found = editor.call(before, aten.embedding.default, table, index)
    return editor.call(before, aten.squeeze.dim, found, -1)


def _constant(editor: GraphEditor, before: Node, data: torch.Tensor) -> Node:
    """A constant of one node alone: ExecuTorch refuses one that the host and a delegate both read."""
    return editor.add_constant(data, f"of_{before.name}")


def _size(editor: GraphEditor, before: Node, x: Node, dim: int) -> Any:
    size = shape(x)[dim]
    return size if isinstance(size, int) else editor.call(before, aten.sym_size.int, x, dim)


def _one_hot(editor: GraphEditor, node: Node) -> None:
    index, classes = args_of(node)[0], argument(node, 1, "num_classes", -1)
    if not is_tensor(index) or not isinstance(classes, int) or classes < 1:
        return
    known = editor.call(node, aten.unsqueeze.default, _checked(editor, node, index, classes), -1)
    same = editor.call(node, aten.eq.Tensor, known, _constant(editor, node, torch.arange(classes)))
    editor.replace(node, editor.call(node, aten._to_copy.default, same, dtype=torch.int64))


def _fill(editor: GraphEditor, node: Node) -> None:
    """As an index_put, which counts -1 from the end as well. The decomposition is an index_copy, which does not."""
    x, dim, index, number = args_of(node)[:4]
    if not is_tensor(x) or not is_tensor(index) or not shape(x):
        return
    kind = value(x).dtype
    if is_tensor(number):
        number = number if value(number).dtype is kind else editor.call(node, aten._to_copy.default, number, dtype=kind)
    else:
        number = editor.call(node, aten.full.default, [], number, dtype=kind)
    indices = [*[None] * dim_index(dim, len(shape(x))), index]
    editor.replace(node, editor.call(node, aten.index_put.default, x, indices, number))


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


def _diagonal(editor: GraphEditor, node: Node) -> None:
    """A diagonal written at constant positions, where ExecuTorch has no kernel and the backend no integers."""
    x, src = args_of(node)[:2]
    if not is_tensor(x) or not is_tensor(src):
        return
    rank = len(shape(x))
    offset = argument(node, 2, "offset", 0)
    dims = [dim_index(argument(node, 3, "dim1", 0), rank), dim_index(argument(node, 4, "dim2", 1), rank)]
    count = shape(src)[-1]
    if not isinstance(count, int) or not isinstance(offset, int) or value(x).dtype is not value(src).dtype:
        return
    others = [d for d in range(rank) if d not in dims]
    rows = torch.arange(count) + max(0, -offset)
    places = [_constant(editor, node, rows), _constant(editor, node, rows + offset)]
    moved = editor.call(node, aten.permute.default, x, [*dims, *others])
    values = editor.call(node, aten.permute.default, src, [len(others), *range(len(others))])
    written = editor.call(node, aten.index_put.default, moved, places, values)
    order = [*dims, *others]
    back = editor.call(node, aten.permute.default, written, [order.index(d) for d in range(rank)])
    editor.replace(node, back)


def _strided(editor: GraphEditor, node: Node) -> None:
    """A write through strides (`fill_diagonal_` is one) at constant positions of the flattened tensor."""
    x, src, sizes, strides = args_of(node)[:4]
    start = argument(node, 4, "storage_offset", None) or 0
    known = is_tensor(x) and is_tensor(src) and all(isinstance(d, int) for d in (*shape(x), *sizes, *strides, start))
    if not known or not value(x).is_contiguous() or value(x).dtype is not value(src).dtype:
        return
    places = torch.tensor(start)
    for size, stride in zip(sizes, strides, strict=True):
        places = places.unsqueeze(-1) + torch.arange(size) * stride
    places = places.reshape(-1)
    # Memory written twice, or that belongs to another tensor, is nobody's to promise.
    if len(set(places.tolist())) != len(places) or not len(places) or int(places.max()) >= value(x).numel():
        return
    flat = editor.call(node, aten.reshape.default, x, [-1])
    values = editor.call(node, aten.reshape.default, src, [-1])
    written = editor.call(node, aten.index_put.default, flat, [_constant(editor, node, places)], values)
    editor.replace(node, editor.call(node, aten.reshape.default, written, list(shape(x))))
