"""The ways in which a rotation of pairs is written.

Each matcher gets the last node of the pattern and returns the rotated tensor x, the two tables and the pairing, or
None. Nothing is concluded about the tables here.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

from torch.fx import Node

from executorch_ggml.aot.custom_ops import ROPE_NEOX, ROPE_NORM

from ._graph import args_of, argument, aten, dim_index, is_call, is_tensor, operands, same_shape, shape

_END = 1 << 62


@dataclass
class Rotation:
    """x rotated by tables: `x` [..., D], `mode` ROPE_NEOX or ROPE_NORM."""

    x: Node
    cos: Node
    sin: Node
    mode: int


@dataclass(frozen=True)
class Part:
    """Elements start, start + step, ... (count of them) of the last dimension of `source`."""

    source: Node
    start: int
    step: int
    count: int


def part_of(node: object) -> Part | None:
    """Which part of the last dimension of another tensor a node is, if it is one."""
    if not isinstance(node, Node) or not is_tensor(node):
        return None
    if is_call(node, aten.slice.Tensor):
        source = args_of(node)[0]
        width = shape(source)[-1]
        start = argument(node, 2, "start", 0) or 0
        step = argument(node, 4, "step", 1)
        dim = dim_index(argument(node, 1, "dim", 0), len(shape(source)))
        if dim != len(shape(source)) - 1 or not all(isinstance(i, int) for i in (width, start, step)):
            return None
        count = shape(node)[-1]
        return Part(source, dim_index(start, int(width)), step, count) if isinstance(count, int) else None
    if node.target is operator.getitem and is_call(
        args_of(node)[0], aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default
    ):
        split, index = args_of(node)
        assert isinstance(index, int)
        source = args_of(split)[0]
        if dim_index(argument(split, 2, "dim", 0), len(shape(source))) != len(shape(source)) - 1:
            return None
        widths = [part.shape[-1] for part in split.meta["val"]]
        if not all(isinstance(w, int) for w in widths):
            return None
        return Part(source, sum(widths[:index]), 1, widths[index])
    if is_call(node, aten.select.int):
        # The pair as a dimension of its own: reshape(x, [..., D / 2, 2])[..., i].
        pairs = args_of(node)[0]
        if (
            is_call(pairs, aten.reshape.default, aten.view.default)
            and dim_index(int(args_of(node)[1]), len(shape(pairs))) == len(shape(pairs)) - 1
        ):
            return _pair_part(pairs, int(args_of(node)[2]))
    if is_call(node, aten.squeeze.dims, aten.squeeze.dim):
        inner = args_of(node)[0]
        if is_call(inner, aten.slice.Tensor) or (isinstance(inner, Node) and inner.target is operator.getitem):
            part = part_of(inner)
            if part is not None and part.count == 1 and len(shape(inner)) == len(shape(node)) + 1:
                return _pair_part(part.source, part.start)
    if node.target is operator.getitem and is_call(args_of(node)[0], aten.unbind.int):
        unbind, index = args_of(node)
        assert isinstance(index, int)
        pairs = args_of(unbind)[0]
        if (
            isinstance(pairs, Node)
            and dim_index(argument(unbind, 1, "dim", 0), len(shape(pairs))) == len(shape(pairs)) - 1
        ):
            return _pair_part(pairs, index)
    return None


def _pair_part(pairs: Node, index: int) -> Part | None:
    if not is_call(pairs, aten.reshape.default, aten.view.default):
        return None
    source = args_of(pairs)[0]
    if not isinstance(source, Node) or not is_tensor(source):
        return None
    wide, narrow = shape(source), shape(pairs)
    width = wide[-1] if wide else None
    if not isinstance(width, int) or len(narrow) != len(wide) + 1 or narrow[-1] != 2 or narrow[-2] != width // 2:
        return None
    return Part(source, index, 2, width // 2) if same_shape(wide[:-1], narrow[:-2]) else None


def _pair(first: object, second: object) -> tuple[Node, int] | None:
    """(x, mode), if the two nodes are the first and second members of all pairs of x."""
    a, b = part_of(first), part_of(second)
    if a is None or b is None or a.source is not b.source or a.count != b.count:
        return None
    width = shape(a.source)[-1]
    if width != 2 * a.count:
        return None
    if (a.start, a.step, b.start, b.step) == (0, 1, a.count, 1):
        return a.source, ROPE_NEOX
    if (a.start, a.step, b.start, b.step) == (0, 2, 1, 2):
        return a.source, ROPE_NORM
    return None


def _joined(node: object) -> tuple[object, object, int] | None:
    """(first, second, mode), if the node puts pairs together again."""
    if is_call(node, aten.cat.default):
        parts = args_of(node)[0]
        if (
            isinstance(parts, (list, tuple))
            and len(parts) == 2
            and dim_index(argument(node, 1, "dim", 0), len(shape(node))) == len(shape(node)) - 1
        ):
            return parts[0], parts[1], ROPE_NEOX
    if is_call(node, aten.reshape.default, aten.view.default):
        stacked = args_of(node)[0]
        if isinstance(stacked, Node) and is_tensor(stacked) and len(shape(stacked)) == len(shape(node)) + 1 > 1:
            pair = _stacked(stacked)
            width = shape(node)[-1]
            if (
                pair is not None
                and same_shape(shape(stacked)[:-2], shape(node)[:-1])
                and shape(stacked)[-2:]
                == (
                    width // 2 if isinstance(width, int) else None,
                    2,
                )
            ):
                return (*pair, ROPE_NORM)
    return None


def _stacked(node: Node) -> tuple[object, object] | None:
    """The two tensors stacked along a new last dimension."""
    rank = len(shape(node))
    if is_call(node, aten.stack.default):
        parts = args_of(node)[0]
        if isinstance(parts, (list, tuple)) and len(parts) == 2:
            return (parts[0], parts[1]) if dim_index(argument(node, 1, "dim", 0), rank) == rank - 1 else None
    if is_call(node, aten.cat.default):
        parts = args_of(node)[0]
        if isinstance(parts, (list, tuple)) and len(parts) == 2:
            if dim_index(argument(node, 1, "dim", 0), rank) != rank - 1:
                return None
            inner = []
            for part in parts:
                if not is_call(part, aten.unsqueeze.default):
                    return None
                if dim_index(int(args_of(part)[1]), rank) != rank - 1:
                    return None
                inner.append(args_of(part)[0])
            return inner[0], inner[1]
    return None


def rotate_form(node: Node) -> Rotation | None:
    """x * cos + rotate(x) * sin, where rotate turns each pair (a, b) into (-b, a)."""
    if not is_call(node, aten.add.Tensor) or argument(node, 2, "alpha", 1) != 1:
        return None
    for left, right in operands(node):
        if not is_call(left, aten.mul.Tensor) or not is_call(right, aten.mul.Tensor):
            continue
        for rotated, sin in operands(right):
            joined = _joined(rotated)
            if joined is None or not is_call(joined[0], aten.neg.default):
                continue
            pair = _pair(joined[1], joined[0].args[0])
            if pair is None or pair[1] != joined[2]:
                continue
            for x, cos in operands(left):
                if x is pair[0] and is_tensor(cos) and is_tensor(sin) and same_shape(shape(node), shape(pair[0])):
                    return Rotation(pair[0], cos, sin, pair[1])
    return None


def split_form(node: Node) -> Rotation | None:
    """(a * cos - b * sin, a * sin + b * cos), the two parts computed apart and put together."""
    joined = _joined(node)
    if joined is None:
        return None
    first, second, mode = joined
    if not is_call(first, aten.sub.Tensor) or not is_call(second, aten.add.Tensor):
        return None
    if argument(first, 2, "alpha", 1) != 1 or argument(second, 2, "alpha", 1) != 1:
        return None
    minuend, subtrahend = args_of(first)
    if not is_call(minuend, aten.mul.Tensor) or not is_call(subtrahend, aten.mul.Tensor):
        return None
    for a, cos in operands(minuend):
        for b, sin in operands(subtrahend):
            pair = _pair(a, b)
            if pair is None or pair[1] != mode or not is_tensor(cos) or not is_tensor(sin):
                continue
            if _is_sum(second, ((a, sin), (b, cos))) and same_shape(shape(node), shape(pair[0])):
                return Rotation(pair[0], cos, sin, mode)
    return None


def _is_sum(node: Node, products: tuple[tuple[object, object], tuple[object, object]]) -> bool:
    terms = [
        {id(args_of(term)[0]), id(args_of(term)[1])}
        for term in args_of(node)[:2]
        if is_call(term, aten.mul.Tensor) and isinstance(term, Node)
    ]
    wanted = [{id(a), id(b)} for a, b in products]
    return len(terms) == 2 and (terms == wanted or terms == wanted[::-1])


@dataclass
class ComplexRotation:
    """x read as complex numbers (pairs of neighbours) times a complex table."""

    x: Node
    table: Node


def complex_form(node: Node) -> ComplexRotation | None:
    """reshape(view_as_real(view_as_complex(reshape(x, [..., D / 2, 2])) * table), [..., D])."""
    if not is_call(node, aten.reshape.default, aten.view.default) or not is_call(
        args_of(node)[0], aten.view_as_real.default
    ):
        return None
    product = args_of(node)[0].args[0]
    if not is_call(product, aten.mul.Tensor):
        return None
    for number, table in operands(product):
        if is_call(number, aten.view_as_complex.default) and isinstance(table, Node) and is_tensor(table):
            pairs = args_of(number)[0]
            if not isinstance(pairs, Node):
                continue
            part = _pair_part(pairs, 0)
            if part is not None and same_shape(shape(part.source), shape(node)):
                return ComplexRotation(part.source, table)
    return None
