"""Advanced indexing with positions as the layout change that it is.

Masks are written as functions of (batch, head, query, key) indices: `padding[batch_index, key_index]` with
`batch_index = arange(N)[:, None, None, None]` and `key_index = arange(T)` reads every element once and in order. As a
gather it would need integers at run time; it is a reshape.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, aten, is_call, is_tensor, nodes_of, same_dim, shape
from ._integer_expressions import Integers, Iota, Linear


def _axis_of(known: Integers, index: Node) -> int | None:
    """The axis (counted from the last) along which a tensor of indices holds 0, 1, 2, ...; None for anything else."""
    terms = dict(known.linear(index).terms)
    if len(terms) != 1 or known.linear(index).constant != 0:
        return None
    ((atom, factor),) = terms.items()
    return atom.axis if isinstance(atom, Iota) and factor == 1 else None


def _layout(known: Integers, node: Node) -> list[int | None] | None:
    """For each dimension of the result the source's dimension it is, None for a one; None if the elements move."""
    source, indices = args_of(node)[:2]
    if not is_tensor(source) or not all(is_tensor(i) for i in indices):
        return None
    rank = max(len(shape(i)) for i in indices)
    layout: list[int | None] = [None] * rank
    last = -1
    for dim, index in enumerate(indices):
        size = shape(source)[dim]
        if isinstance(size, int) and size == 1 and known.linear(index) == Linear.of({}):
            continue
        axis = _axis_of(known, index)
        # In another order it would be a transposition.
        if axis is None or rank - 1 - axis <= last or not same_dim(shape(node)[rank - 1 - axis], size):
            return None
        last = rank - 1 - axis
        layout[last] = dim
    return layout + list(range(len(indices), len(shape(source))))


def index_by_layout(ep: ExportedProgram) -> bool:
    """Replace, in place, every `x[i, j, ...]` indexed by positions along axes of their own; True if any was."""
    editor = GraphEditor(ep)
    known = Integers(editor)
    for node in nodes_of(editor.graph, aten.index.Tensor):
        layout = _layout(known, node)
        if layout is None:
            _as_gather(editor, known, node)
        else:
            source = args_of(node)[0]
            sizes = [1 if dim is None else _size(editor, node, source, dim) for dim in layout]
            editor.replace(node, editor.call(node, aten.reshape.default, source, sizes))
    return editor.finish()


def _as_gather(editor: GraphEditor, known: Integers, node: Node) -> None:
    """`x[arange(N), argmax(...)]`, one row of each entry of a batch, as a gather along the second dimension."""
    source, indices = args_of(node)[:2]
    if not is_tensor(source) or len(indices) != 2 or len(shape(source)) < 2:
        return
    batch, ids = indices
    # Positions from an argmax are not negative, which a gather would not take.
    if not is_tensor(batch) or not is_call(ids, aten.argmax.default, aten.argmin.default):
        return
    if len(shape(ids)) != 1 or _axis_of(known, batch) != 0 or not same_dim(shape(batch)[0], shape(source)[0]):
        return
    rest = [_size(editor, node, source, dim) for dim in range(2, len(shape(source)))]
    places = editor.call(node, aten.reshape.default, ids, [_size(editor, node, source, 0), *[1] * (len(rest) + 1)])
    places = editor.call(node, aten.expand.default, places, [-1, 1, *rest])
    rows = editor.call(node, aten.gather.default, source, 1, places)
    editor.replace(node, editor.call(node, aten.squeeze.dim, rows, 1))


def _size(editor: GraphEditor, before: Node, source: Node, dim: int) -> object:
    """A size for use in a call: a number, or the node of a dynamic one."""
    size = shape(source)[dim]
    return size if isinstance(size, int) else editor.call(before, aten.sym_size.int, source, dim)
