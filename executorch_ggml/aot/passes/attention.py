"""Attention with a mask that only says "not later than the query", without the mask.

A boolean mask is an integer computation on the graph: comparisons of index ranges and positions. `_integers` writes it
as exact inequalities, so it is known, not guessed, for which query i and key j it is true:

* ``j <= i``                                     -> ``is_causal=True``, no mask;
* ``j <= positions[i]`` and, for a sliding window, ``positions[i] - j < window``, with keys in a cache of fixed length
                                                 -> `executorch_ggml::causal_attention`, which reads only the rows of
                                                    the cache that are filled.

A mask that depends on anything else (padding, prefixes, blocks) stays a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, argument, aten, is_delegable, is_tensor, nodes_of, same_dim, shape, value
from ._integer_expressions import Entry, Integers, Iota, Linear

_SDPA = aten.scaled_dot_product_attention.default
_QUERY, _KEY = 1, 0  # axes of a mask, counted from the last


@dataclass
class Visible:
    """Key j is visible to query i iff j <= position(i), and position(i) - j < window unless window is 0."""

    position: Linear
    window: int


def _axes_of(expression: Linear) -> set[int]:
    axes: set[int] = set()
    for atom, _ in expression.terms:
        if isinstance(atom, Iota):
            axes.add(atom.axis)
        elif isinstance(atom, Entry):
            axes.update(a for a in atom.axes if a is not None)
    return axes


def _visible(constraints: frozenset[Linear]) -> Visible | None:
    """The constraints as positions and a window, if they are such."""
    key = Linear.of({Iota(_KEY): 1})
    position: Linear | None = None
    lower: list[Linear] = []
    for constraint in constraints:
        if not constraint.terms:
            if constraint.constant < 0:
                return None
            continue
        factor = dict(constraint.terms).get(Iota(_KEY), 0)
        if factor == -1:
            bound = constraint.plus(key)  # bound - j >= 0
            if position is not None and position != bound:
                return None
            position = bound
        elif factor == 1:
            lower.append(constraint.plus(key, -1))  # j + rest >= 0
        else:
            return None
    if position is None or not _axes_of(position) <= {_QUERY}:
        return None
    window = 0
    for rest in lower:
        reach = rest.plus(position)  # j - position + reach >= 0
        if reach.terms or reach.constant < 0:
            return None
        window = reach.constant + 1 if window == 0 else min(window, reach.constant + 1)
    return Visible(position, window)


def visible_keys(integers: Integers, mask: Node) -> Visible | None:
    """The keys that a boolean mask lets a query see, if they are those up to a position (and within a window)."""
    constraints = integers.constraints(mask)
    return None if constraints is None else _visible(constraints)


def _positions_node(
    editor: GraphEditor, integers: Integers, before: Node, position: Linear, rows: object
) -> Node | None:
    """A vector of int64 with the given expression of the query axis as elements, available before a node."""
    wanted = position.moved({_QUERY: 0})
    for node in editor.graph.nodes:
        if node is before:
            break
        if not is_tensor(node) or value(node).dtype != torch.int64:
            continue
        dims = shape(node)
        if len(dims) == 1 and same_dim(dims[0], rows) and integers.linear(node) == wanted:
            return node
    for node in editor.graph.nodes:
        if node is before:
            break
        if not is_tensor(node) or value(node).dtype != torch.int64:
            continue
        dims = shape(node)
        if len(dims) == 2 and dims[0] == 1 and same_dim(dims[1], rows) and integers.linear(node) == wanted:
            return editor.call(before, aten.squeeze.dims, node, [0])
    return None


def _rewrite(editor: GraphEditor, integers: Integers, node: Node) -> bool:
    query, key, v, mask = (argument(node, i, name) for i, name in enumerate(("query", "key", "value", "attn_mask")))
    if not all(is_tensor(x) for x in (query, key, v, mask)) or value(mask).dtype != torch.bool:
        return False
    if not all(is_delegable(x) for x in (query, key, v)):
        return False
    if argument(node, 4, "dropout_p", 0.0) != 0.0 or argument(node, 5, "is_causal", False):
        return False
    if len(shape(query)) != 4 or len(shape(key)) != 4 or len(shape(mask)) < 2:
        return False
    visible = visible_keys(integers, mask)
    if visible is None:
        return False
    queries, keys = shape(query)[2], shape(key)[2]
    scale = argument(node, 6, "scale")
    grouped = bool(argument(node, 7, "enable_gqa", False))
    if visible.position == Linear.of({Iota(_QUERY): 1}) and visible.window == 0:
        call = editor.call(node, _SDPA, query, key, v, is_causal=True, scale=scale, enable_gqa=grouped)
        editor.replace(node, call)
        return True
    if not isinstance(keys, int) or not same_dim(shape(v)[2], keys):
        return False
    if not same_dim(shape(query)[0], shape(key)[0]) or not same_dim(shape(key)[0], shape(v)[0]):
        return False
    head_dim = shape(query)[3]
    if scale is None:
        if not isinstance(head_dim, int):
            return False
        scale = 1.0 / math.sqrt(head_dim)
    positions = _positions_node(editor, integers, node, visible.position, queries)
    if positions is None:
        return False
    q, k, v = (editor.call(node, aten.transpose.int, x, 1, 2) for x in (query, key, v))
    attended = editor.call(
        node,
        torch.ops.executorch_ggml.causal_attention.default,
        q,
        k,
        v,
        positions,
        float(scale),
        visible.window,
        0.0,
    )
    editor.replace(node, editor.call(node, aten.transpose.int, attended, 1, 2))
    return True


def fuse_cached_attention(ep: ExportedProgram) -> bool:
    """Rewrite, in place, attention with a mask that is proved to be causal; True if there was one."""
    editor = GraphEditor(ep)
    integers = Integers(editor)
    for node in nodes_of(editor.graph, _SDPA):
        _rewrite(editor, integers, node)
    return editor.finish()
