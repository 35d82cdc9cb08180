"""Sorts of large integers and of float64, and the k-th smallest of any type, in operators that there are kernels for.

ExecuTorch has no kernel for a sort, and ggml sorts in F32. ExecuTorch's `topk` of all elements gives their values in
order, in any type. It leaves equal elements in any order, so that the places are put in order once more: the number of
the group of equal elements first, the place second; no two of these are equal.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ..bounds import is_exact
from ..integer_bounds import IntegerBounds
from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_delegable, is_tensor, nodes_of, shape, value

_SORTS = (aten.sort.default, aten.sort.stable, aten.argsort.default, aten.argsort.stable, aten.msort.default)
_END = (1 << 63) - 1
_MEDIANS = (aten.median.dim, aten.median.default)


def sort_by_selection(ep: ExportedProgram) -> bool:
    """Replace, in place, sorts that neither side has a kernel for; True if there was one."""
    editor = GraphEditor(ep)
    bounds = IntegerBounds(editor)
    for node in nodes_of(editor.graph, aten.kthvalue.default):
        _kth(editor, node, argument(node, 1, "k"), argument(node, 2, "dim", -1), argument(node, 3, "keepdim", False))
    for node in nodes_of(editor.graph, *_SORTS, *_MEDIANS):
        x = args_of(node)[0]
        narrow = is_delegable(x) or value(x).dtype is torch.bool or is_exact(bounds.of(x))
        if not shape(x) or narrow:
            continue
        if node.target in _SORTS:
            _sort(editor, node, x)
        elif isinstance(_width(x, node), int):
            _median(editor, node, x)
    return editor.finish()


def _dim(node: Node) -> int:
    target = node.target
    if target is aten.msort.default:
        return 0
    if target in (aten.sort.stable, aten.argsort.stable):
        dim: Any = node.kwargs.get("dim", -1)
        return int(dim)
    return int(argument(node, 1, "dim", -1))


def _width(x: Node, node: Node) -> Any:
    return 1 if node.target is aten.median.default else shape(x)[dim_index(_dim(node), len(shape(x)))]


def _descending(node: Node) -> bool:
    if node.target in (aten.sort.stable, aten.argsort.stable):
        return bool(node.kwargs.get("descending", False))
    return node.target is not aten.msort.default and bool(argument(node, 2, "descending", False))


def _top(editor: GraphEditor, node: Node, x: Node, k: Any, dim: int, *, largest: bool) -> Node:
    return editor.call(node, aten.topk.default, x, k, dim, largest)


def _part(editor: GraphEditor, node: Node, pair: Node, which: int) -> Node:
    return editor.call(node, operator.getitem, pair, which)


def _sort(editor: GraphEditor, node: Node, x: Node) -> None:
    rank = len(shape(x))
    dim, width = dim_index(_dim(node), rank), _width(x, node)
    if not isinstance(width, int):
        width = editor.call(node, aten.sym_size.int, x, dim)
    order = _top(editor, node, x, width, dim, largest=_descending(node))
    values, places = _part(editor, node, order, 0), _part(editor, node, order, 1)
    if node.target is aten.msort.default:
        editor.replace(node, values)
    elif node.target in (aten.argsort.default, aten.argsort.stable):
        editor.replace(node, _stable(editor, node, values, places, dim, width))
    else:
        for user in list(node.users):
            if args_of(user)[1] == 0:
                editor.replace(user, values)
            else:
                editor.replace(user, _stable(editor, node, values, places, dim, width))


def _stable(editor: GraphEditor, node: Node, values: Node, places: Node, dim: int, width: Any) -> Node:
    """The places of sorted values, those of equal ones in rising order."""
    if isinstance(width, int) and width < 2:
        return places
    call = editor.call
    after = call(node, aten.slice.Tensor, values, dim, 1, _END)
    before = call(node, aten.slice.Tensor, values, dim, 0, -1)
    differs = call(node, aten.ne.Tensor, after, before)
    if value(values).dtype.is_floating_point:  # NaN differs from NaN
        missing = [call(node, aten.isnan.default, x) for x in (before, after)]
        both = call(node, aten.logical_and.default, *missing)
        differs = call(node, aten.logical_and.default, differs, call(node, aten.logical_not.default, both))
    first = call(node, aten.slice.Tensor, places, dim, 0, 1)
    zero = call(node, aten.sub.Tensor, first, first)
    steps = call(node, aten.cat.default, [zero, call(node, aten._to_copy.default, differs, dtype=torch.int64)], dim)
    group = call(node, aten.mul.Tensor, call(node, aten.cumsum.default, steps, dim), width)
    keys = call(node, aten.add.Tensor, group, places)
    in_order = _part(editor, node, _top(editor, node, keys, width, dim, largest=False), 0)
    return call(node, aten.sub.Tensor, in_order, group)


def _median(editor: GraphEditor, node: Node, x: Node) -> None:
    """The lower middle one; NaN, and its place, where there is one."""
    call = editor.call
    if node.target is aten.median.default:
        if not all(isinstance(d, int) for d in shape(x)):
            return
        flat = call(node, aten.reshape.default, x, [-1])
        pair = call(node, aten.median.dim, flat, 0)
        editor.replace(node, _part(editor, node, pair, 0))
        _median(editor, pair, flat)
        return
    dim, keepdim = argument(node, 1, "dim"), argument(node, 2, "keepdim", False)
    if value(x).dtype.is_floating_point:
        missing = call(node, aten._to_copy.default, call(node, aten.isnan.default, x), dtype=torch.int64)
        any_missing = call(node, aten.gt.Scalar, call(node, aten.amax.default, missing, [dim], keepdim), 0)
        place = call(node, aten.argmax.default, missing, dim, keepdim)
        pair = call(node, aten.median.dim, x, dim, keepdim)
        for user in list(node.users):
            found = _part(editor, node, pair, int(args_of(user)[1]))
            if args_of(user)[1] == 0:
                other = call(node, aten.mul.Tensor, found, editor.add_constant(torch.tensor(math.nan).double(), "nan"))
            else:
                other = place
            editor.replace(user, call(node, aten.where.self, any_missing, other, found))
        node = pair
    _kth(editor, node, (_width(x, node) + 1) // 2, dim, keepdim)


def _kth(editor: GraphEditor, node: Node, k: Any, dim: int, keepdim: bool) -> None:
    """Value and place of the k-th smallest: the last of the k smallest."""
    x = args_of(node)[0]
    if not is_tensor(x) or not shape(x) or not isinstance(k, int):
        return
    # Of several equal integers torch names any place: there is no right one.
    if not value(x).dtype.is_floating_point and any(args_of(user)[1] == 1 for user in node.users):
        return
    order = _top(editor, node, x, k, dim, largest=False)
    for user in list(node.users):
        part = _part(editor, node, order, int(args_of(user)[1]))
        last = editor.call(node, aten.slice.Tensor, part, dim, k - 1, k)
        editor.replace(user, last if keepdim else editor.call(node, aten.squeeze.dim, last, dim))
