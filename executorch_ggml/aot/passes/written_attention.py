"""Causal attention that a model writes out: two products around a softmax with a mask.

It becomes `scaled_dot_product_attention`, which attention's kernels take, also those over a KV cache. The mask must be
proved to hide no more than later keys, so that no row is hidden as a whole. These forms of a mask are known:

* ``scores.masked_fill(hidden, low)``, ``torch.where(visible, scores, low)``;
* ``scores + mask``, where the mask is 0 and ``low``, made in one of these ways.

``low`` is -inf, or a number that no score can make up for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    is_call,
    is_tensor,
    nodes_of,
    same_shape,
    shape,
    value,
)
from ._integer_expressions import Integers, moved_axes
from .attention import visible_keys

_PRODUCTS = (aten.matmul.default, aten.bmm.default)
_ADD = (aten.add.Tensor, aten.add.Scalar)
_WHERE = (aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
# Scores of finite queries and keys of less than 1e12 stay above it.
_LOW = -1e30


class _Scores:
    """Scores before the softmax, taken apart from outside to inside."""

    def __init__(self, editor: GraphEditor, before: Node) -> None:
        self.editor, self.before = editor, before
        self.masks: list[Node] = []
        """Boolean, true where a key is visible."""

    def product(self, node: Any) -> tuple[Node, float] | None:
        """The product of queries and keys, and the factor of its result. Masks are collected on the way."""
        factor = 1.0
        while is_tensor(node):
            if is_call(node, *_PRODUCTS):
                return node, factor
            inner = self._unmasked(node) if factor == 1.0 else None
            if inner is None:
                inner, number = _scaled(self.editor, node)
                factor *= number
            if inner is None:
                return None
            node = inner
        return None

    def _unmasked(self, node: Node) -> Node | None:
        """The scores that a node masks; None if it masks nothing."""
        arguments: Sequence[Node] = args_of(node)
        if is_call(node, aten.masked_fill.Scalar, aten.masked_fill.Tensor) and self._is_low(arguments[2]):
            self._hide(arguments[1])
            return arguments[0]
        if is_call(node, *_WHERE):
            condition, first, second = arguments
            if self._is_low(second) and is_tensor(first):
                self.masks.append(condition)
                return first
            if self._is_low(first) and is_tensor(second):
                self._hide(condition)
                return second
            return None
        if is_call(node, *_ADD) and argument(node, 2, "alpha", 1) == 1:
            for scores, mask in ((arguments[0], arguments[1]), (arguments[1], arguments[0])):
                if is_tensor(scores) and is_tensor(mask) and self.additive(mask):
                    return scores
        return None

    def additive(self, mask: Node) -> bool:
        """Whether a tensor is 0 where keys are visible and low elsewhere."""
        if is_call(mask, aten.masked_fill.Scalar, aten.masked_fill.Tensor):
            zeros, hidden, low = args_of(mask)
            if self._number(zeros) != 0.0 or not self._is_low(low):
                return False
            self._hide(hidden)
            return True
        if is_call(mask, *_WHERE):
            condition, first, second = args_of(mask)
            if self._number(first) == 0.0 and self._is_low(second):
                self.masks.append(condition)
                return True
            if self._is_low(first) and self._number(second) == 0.0:
                self._hide(condition)
                return True
            return False
        layout = moved_axes(mask)
        if layout is None or any(layout[1].get(axis) != axis for axis in (0, 1)):  # queries and keys stay theirs
            return False
        return self.additive(layout[0])

    def _hide(self, condition: Node) -> None:
        self.masks.append(self.editor.call(self.before, aten.logical_not.default, condition))

    def _is_low(self, item: Any) -> bool:
        number = self._number(item)
        return number is not None and number <= _LOW

    def _number(self, item: Any) -> float | None:
        """The number that every element of an argument has."""
        return uniform(self.editor, item)


def uniform(editor: GraphEditor, item: Any) -> float | None:
    """The number that every element of a tensor, or a number itself, has; None if they are not known to be equal."""
    if isinstance(item, (int, float)):
        return float(item)
    if not is_tensor(item):
        return None
    if is_call(item, aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default):
        return 0.0
    if is_call(item, aten.full.default, aten.full_like.default, aten.scalar_tensor.default):
        fill = args_of(item)[0 if item.target == aten.scalar_tensor.default else 1]
        return float(fill) if isinstance(fill, (int, float)) else None
    if is_call(item, aten.expand.default, aten._to_copy.default, aten.clone.default, aten.lift_fresh_copy.default):
        return uniform(editor, args_of(item)[0])
    data = editor.constant(item)
    if data is None or data.numel() == 0:
        return None
    first = data.reshape(-1)[0]
    return float(first) if bool((data == first).all()) else None


def _scaled(editor: GraphEditor, node: Node) -> tuple[Node | None, float]:
    """(operand, factor) of a product with a number or a quotient by one."""
    arguments = args_of(node)
    if is_call(node, aten.mul.Tensor, aten.mul.Scalar):
        for operand, number in ((arguments[0], arguments[1]), (arguments[1], arguments[0])):
            known = uniform(editor, number)
            if known is not None and is_tensor(operand) and same_shape(shape(operand), shape(node)):
                return operand, known
    if is_call(node, aten.div.Tensor, aten.div.Scalar):
        known = uniform(editor, arguments[1])
        if known and is_tensor(arguments[0]):
            return arguments[0], 1.0 / known
    return None, 1.0


def _softmax_of(node: Any) -> Node | None:
    """The scores of a softmax over keys, with the conversions and the dropout of evaluation that models put behind."""
    while is_call(node, aten._to_copy.default, aten.clone.default, aten.dropout.default):
        if is_call(node, aten.dropout.default) and args_of(node)[2]:
            return None
        node = args_of(node)[0]
    if not is_call(node, aten.softmax.int, aten._softmax.default):
        return None
    scores = args_of(node)[0]
    return scores if dim_index(args_of(node)[1], len(shape(node))) == len(shape(node)) - 1 else None


def _keys(editor: GraphEditor, node: Node) -> Node:
    """Keys [.., S, D] of an operand [.., D, S]."""
    if is_call(node, aten.transpose.int):
        source: Node = args_of(node)[0]
        rank = len(shape(node))
        if {dim_index(d, rank) for d in args_of(node)[1:3]} == {rank - 2, rank - 1}:
            return source
    return editor.call(node.next, aten.transpose.int, node, -1, -2)


def _is_causal(integers: Integers, mask: Node) -> bool:
    """Whether a boolean mask hides nothing but later keys, or those before a window."""
    seen = visible_keys(integers, mask) if len(shape(mask)) >= 2 else None
    # A row of which everything is hidden is NaN here, or has all keys alike, and is 0 there.
    return seen is not None and seen.position.constant >= 0 and all(c > 0 for _, c in seen.position.terms)


def _rewrite(editor: GraphEditor, integers: Integers, node: Node) -> bool:
    if not is_tensor(node) or len(shape(node)) != 4 or value(node).dtype != torch.float32:
        return False
    attention, values = args_of(node)
    scores = _softmax_of(attention)
    if scores is None or not is_tensor(values) or len(shape(values)) != 4:
        return False
    found = _Scores(editor, node)
    product = found.product(scores)
    if product is None or not found.masks:
        return False
    (multiplied, scale), operands = product, args_of(product[0])
    if not all(is_tensor(x) and len(shape(x)) == 4 for x in operands) or not math.isfinite(scale):
        return False
    if any(value(x).dtype != torch.float32 for x in (*operands, values, multiplied)):
        return False
    mask = found.masks[0]
    for other in found.masks[1:]:
        mask = editor.call(node, aten.logical_and.default, mask, other)
    if not _is_causal(integers, mask):
        return False
    query, key = operands[0], _keys(editor, operands[1])
    call = editor.call(node, aten.scaled_dot_product_attention.default, query, key, values, mask, scale=float(scale))
    editor.replace(node, call)
    return True


def _with_boolean_mask(editor: GraphEditor, integers: Integers, node: Node) -> bool:
    mask = argument(node, 3, "attn_mask")
    if not is_tensor(mask) or not value(mask).dtype.is_floating_point:
        return False
    found = _Scores(editor, node)
    if not found.additive(mask) or not _is_causal(integers, found.masks[0]):
        return False
    arguments = dict(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args_of(node), strict=False))
    arguments |= {**node.kwargs, "attn_mask": found.masks[0]}
    query, key, values = (arguments.pop(name) for name in ("query", "key", "value"))
    editor.replace(node, editor.call(node, aten.scaled_dot_product_attention.default, query, key, values, **arguments))
    return True


def recognise_attention(ep: ExportedProgram) -> bool:
    """Rewrite, in place, causal attention that is written out, or has its mask in floats; True if there was some."""
    editor = GraphEditor(ep)
    integers = Integers(editor)
    for node in nodes_of(editor.graph, aten.scaled_dot_product_attention.default):
        _with_boolean_mask(editor, integers, node)
    for node in nodes_of(editor.graph, *_PRODUCTS):
        _rewrite(editor, integers, node)
    return editor.finish()
