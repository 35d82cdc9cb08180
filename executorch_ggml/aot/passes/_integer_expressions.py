"""The elements of an integer tensor of the graph, as an exact expression.

An element at index (..., i, j) is written as a sum of integer multiples of atoms plus a number. Atoms are

* ``Iota(axis)``: the index along an axis, counted from the last one (0 is the last),
* ``Entry(node, axes)``: the element of another tensor, with its dimensions along these axes; a tensor with no
  dimensions is one number,
* ``Size(text)``: a symbolic size.

Two tensors with equal expressions are equal for every input. The attention pass asks this of masks and positions.
Everything that is not such a sum is an atom of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_call, is_tensor, shape, value


@dataclass(frozen=True)
class Iota:
    """Index along an axis counted from the last."""

    axis: int


@dataclass(frozen=True)
class Entry:
    """Element of another tensor; `axes[d]` is the axis of the expression that its dimension d runs along, None for a
    dimension of size one."""

    node: Node
    axes: tuple[int | None, ...]


@dataclass(frozen=True)
class Size:
    """A symbolic size."""

    text: str


Atom = Iota | Entry | Size


@dataclass(frozen=True)
class Linear:
    """Sum of coefficients times atoms, plus a constant."""

    terms: frozenset[tuple[Atom, int]]
    constant: int

    @staticmethod
    def of(terms: dict[Atom, int], constant: int = 0) -> Linear:
        """With zero coefficients dropped."""
        return Linear(frozenset((a, c) for a, c in terms.items() if c), constant)

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """self + factor * other."""
        terms = dict(self.terms)
        for atom, coefficient in other.terms:
            terms[atom] = terms.get(atom, 0) + factor * coefficient
        return Linear.of(terms, self.constant + factor * other.constant)

    def moved(self, axes: dict[int, int]) -> Linear:
        """With axis a renamed to axes[a]."""
        terms: dict[Atom, int] = {}
        for atom, coefficient in self.terms:
            if isinstance(atom, Iota):
                atom = Iota(axes[atom.axis])
            elif isinstance(atom, Entry):
                atom = Entry(atom.node, tuple(None if a is None else axes[a] for a in atom.axes))
            terms[atom] = terms.get(atom, 0) + coefficient
        return Linear.of(terms, self.constant)


_ADD = (aten.add.Tensor, aten.add.Scalar)
_SUB = (aten.sub.Tensor, aten.sub.Scalar)
_SAME = (
    aten.expand.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.lift_fresh_copy.default,
)


def moved_axes(node: Node) -> tuple[Node, dict[int, int]] | None:
    """(source, source axis -> axis), for layout operators that only rename axes; sizes of one may come and go."""
    source = args_of(node)[0] if node.args else None
    if not is_tensor(source):
        return None
    rank, source_rank = len(shape(node)), len(shape(source))
    if is_call(node, *_SAME):
        return source, {a: a for a in range(source_rank)}
    if is_call(node, aten.unsqueeze.default):
        at = rank - 1 - dim_index(args_of(node)[1], rank)
        return source, {a: a if a < at else a + 1 for a in range(source_rank)}
    if is_call(node, aten.transpose.int):
        first, second = (rank - 1 - dim_index(d, rank) for d in args_of(node)[1:3])
        return source, {a: second if a == first else first if a == second else a for a in range(rank)}
    if is_call(
        node,
        aten.reshape.default,
        aten.view.default,
        aten._unsafe_view.default,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
    ):
        return _matched(source, node)
    return None


def _matched(source: Node, node: Node) -> tuple[Node, dict[int, int]] | None:
    """A reshape that keeps every dimension except ones, as a renaming of axes."""
    kept = [(a, d) for a, d in enumerate(reversed(shape(source))) if d != 1]
    found = [(a, d) for a, d in enumerate(reversed(shape(node))) if d != 1]
    if len(kept) != len(found) or any(str(x[1]) != str(y[1]) for x, y in zip(kept, found, strict=True)):
        return None
    axes = {a: a for a in range(len(shape(source)))}  # an axis of size one has no index to keep
    axes.update({x[0]: y[0] for x, y in zip(kept, found, strict=True)})
    return source, axes


class Integers:
    """Expressions of integer tensors, and of boolean ones as conjunctions of inequalities."""

    def __init__(self, editor: GraphEditor) -> None:
        self._editor = editor
        self._known: dict[Node, Linear] = {}

    def number(self, item: object) -> Linear | None:
        """A Python integer, a symbolic size or a tensor as an expression; None for floats and bools."""
        if isinstance(item, (bool, float)):
            return None
        if isinstance(item, int):
            return Linear.of({}, item)
        val = item.meta.get("val") if isinstance(item, Node) else item
        if isinstance(val, int) and not isinstance(val, bool):
            return Linear.of({}, val)
        if isinstance(val, torch.SymInt):
            return self._symbolic(val)
        if is_tensor(item) and value(item).dtype in (torch.int64, torch.int32):
            return self.linear(item)
        return None

    def _symbolic(self, size: torch.SymInt) -> Linear:
        terms: dict[Atom, int] = {}
        constant = 0
        for term, coefficient in size.node.expr.as_coefficients_dict().items():
            if not coefficient.is_Integer:
                return Linear.of({Size(str(size.node.expr)): 1})
            if term == 1:
                constant += int(coefficient)
            else:
                terms[Size(str(term))] = int(coefficient)
        return Linear.of(terms, constant)

    def linear(self, node: Node) -> Linear:
        """The expression of an int64 or int32 tensor."""
        found = self._known.get(node)
        if found is None:
            found = self._compute(node)
            if found is None:
                rank = len(shape(node))
                axes = tuple(None if d == 1 else rank - 1 - i for i, d in enumerate(shape(node)))
                found = Linear.of({Entry(node, axes): 1})
            found = _without_ones(found, node)
            self._known[node] = found
        return found

    def _compute(self, node: Node) -> Linear | None:
        layout = moved_axes(node)
        if layout is not None:
            return self.linear(layout[0]).moved(layout[1])
        if is_call(node, aten._to_copy.default):
            source = args_of(node)[0]
            wide = is_tensor(source) and value(source).dtype in (torch.int64, torch.int32)
            return self.linear(source) if wide and value(node).dtype == torch.int64 else None
        if is_call(node, *_ADD, *_SUB):
            left, right = self.number(args_of(node)[0]), self.number(args_of(node)[1])
            alpha = argument(node, 2, "alpha", 1)
            if left is None or right is None or not isinstance(alpha, int):
                return None
            return left.plus(right, alpha if node.target in _ADD else -alpha)
        if is_call(node, aten.mul.Tensor, aten.mul.Scalar):
            left, right = self.number(args_of(node)[0]), self.number(args_of(node)[1])
            if left is None or right is None:
                return None
            for one, other in ((left, right), (right, left)):
                if not other.terms:
                    return Linear.of({}).plus(one, other.constant)
            return None
        if is_call(node, aten.neg.default):
            inner = self.number(args_of(node)[0])
            return None if inner is None else Linear.of({}).plus(inner, -1)
        if is_call(node, aten.arange.default):
            return Linear.of({Iota(0): 1})
        if is_call(node, aten.arange.start, aten.arange.start_step):
            start, step = self.number(args_of(node)[0]), argument(node, 2, "step", 1)
            if start is None or not isinstance(step, int):
                return None
            return start.plus(Linear.of({Iota(0): step}))
        if is_call(node, aten.full.default):
            return self.number(args_of(node)[1])
        data = self._editor.constant(node)
        if data is not None:
            return _of_data(data)
        return None

    # ---------------------------------------------------------------- booleans

    def constraints(self, node: Node) -> frozenset[Linear] | None:
        """The expressions that must all be >= 0 where a boolean tensor is true, or None if it is no such thing."""
        return self._truth(node, True) if value(node).dtype == torch.bool else None

    def _truth(self, node: Node, wanted: bool) -> frozenset[Linear] | None:
        """The expressions that must all be >= 0 where a tensor is true (not zero), or where it is false."""
        layout = moved_axes(node)
        if layout is not None:
            inner = self._truth(layout[0], wanted)
            return None if inner is None else frozenset(c.moved(layout[1]) for c in inner)
        if is_call(node, aten._to_copy.default) and is_tensor(args_of(node)[0]):
            return self._truth(args_of(node)[0], wanted)
        if is_call(node, *_NOT):
            return self._truth(args_of(node)[0], not wanted)
        if is_call(node, *(_AND if wanted else _OR)):
            parts = [self._truth(x, wanted) if is_tensor(x) else None for x in args_of(node)[:2]]
            return None if parts[0] is None or parts[1] is None else parts[0] | parts[1]
        if is_call(node, *_EQUAL) and self._is_zero(args_of(node)[1]):
            return self._truth(args_of(node)[0], not wanted)
        if is_call(node, *_UNEQUAL) and self._is_zero(args_of(node)[1]):
            return self._truth(args_of(node)[0], wanted)
        if wanted and is_call(node, aten.new_ones.default, aten.ones.default, aten.ones_like.default):
            return frozenset()
        if is_call(node, aten.full.default, aten.full_like.default, aten.new_full.default):
            fill = args_of(node)[2] if is_call(node, aten.new_full.default) else args_of(node)[1]
            return frozenset() if fill is wanted else None
        data = self._editor.constant(node)
        if data is not None:
            return _of_table(data, wanted)
        if is_call(node, aten.slice.Tensor):
            return self._of_slice(node, wanted)
        if is_call(node, aten.index.Tensor, aten.index_select.default):
            return self._of_rows(node, wanted)
        return self._compared(node, wanted)

    def _is_zero(self, item: object) -> bool:
        return self._editor.scalar(item) == 0.0 or item is False

    def _compared(self, node: Node, wanted: bool) -> frozenset[Linear] | None:
        compared = _COMPARISONS.get(node.target) if is_call(node) else None
        if compared is None or not is_call(node):
            return None
        left, right = self.number(args_of(node)[0]), self.number(args_of(node)[1])
        if left is None or right is None:
            return None
        swapped, strict = compared
        low, high = (right, left) if swapped else (left, right)
        if not wanted:
            low, high, strict = high, low, not strict
        return frozenset({high.plus(low, -1).plus(Linear.of({}, -1 if strict else 0))})

    def _of_slice(self, node: Node, wanted: bool) -> frozenset[Linear] | None:
        """The first entries along a dimension, or those from another known place."""
        source, dim = args_of(node)[0], argument(node, 1, "dim", 0)
        start, step = argument(node, 2, "start", 0) or 0, argument(node, 4, "step", 1)
        inner = self._truth(source, wanted) if is_tensor(source) else None
        offset = self.number(start)
        if inner is None or offset is None or step != 1 or (isinstance(start, int) and start < 0):
            return None
        rank = len(shape(node))
        axis = rank - 1 - dim_index(dim, rank)
        return _substituted(inner, axis, Linear.of({Iota(axis): 1}).plus(offset))

    def _of_rows(self, node: Node, wanted: bool) -> frozenset[Linear] | None:
        """Entries along one dimension at places that a vector names."""
        source, rank = args_of(node)[0], len(shape(node))
        if is_call(node, aten.index_select.default):
            dim, index = dim_index(args_of(node)[1], rank), args_of(node)[2]
        else:
            given = list(args_of(node)[1])
            used = [d for d, i in enumerate(given) if i is not None]
            if len(used) != 1:
                return None
            dim, index = used[0], given[used[0]]
        if not is_tensor(source) or not is_tensor(index) or len(shape(index)) != 1 or len(shape(source)) != rank:
            return None
        inner, places = self._truth(source, wanted), self.number(index)
        axis = rank - 1 - dim
        return None if inner is None or places is None else _substituted(inner, axis, places.moved({0: axis}))


def _substituted(expressions: frozenset[Linear], axis: int, by: Linear) -> frozenset[Linear] | None:
    """With the index along an axis replaced by an expression."""
    found = set()
    for expression in expressions:
        terms = dict(expression.terms)
        if any(isinstance(atom, Entry) and axis in atom.axes for atom in terms):
            return None
        factor = terms.pop(Iota(axis), 0)
        found.add(Linear.of(terms, expression.constant).plus(by, factor))
    return frozenset(found)


_AND = (
    aten.__and__.Tensor,
    aten.bitwise_and.Tensor,
    aten.logical_and.default,
)

_OR = (aten.__or__.Tensor, aten.bitwise_or.Tensor, aten.logical_or.default)
_NOT = (aten.logical_not.default, aten.bitwise_not.default)
_EQUAL = (aten.eq.Scalar, aten.eq.Tensor)
_UNEQUAL = (aten.ne.Scalar, aten.ne.Tensor)

# Comparison -> (is the first operand the larger one, is it strict).
_COMPARISONS: dict[object, tuple[bool, bool]] = {
    aten.le.Tensor: (False, False),
    aten.le.Scalar: (False, False),
    aten.lt.Tensor: (False, True),
    aten.lt.Scalar: (False, True),
    aten.ge.Tensor: (True, False),
    aten.ge.Scalar: (True, False),
    aten.gt.Tensor: (True, True),
    aten.gt.Scalar: (True, True),
}


def _without_ones(expression: Linear, node: Node) -> Linear:
    """Without the index along axes of size one, which is zero."""
    dims = shape(node)
    ones = {len(dims) - 1 - d for d, size in enumerate(dims) if size == 1}
    terms = {a: c for a, c in expression.terms if not (isinstance(a, Iota) and a.axis in ones)}
    return Linear.of(terms, expression.constant)


def _of_table(data: torch.Tensor, wanted: bool) -> frozenset[Linear] | None:
    """A constant matrix that is true (or false) up to a diagonal: index along the last axis <= the other one + k."""
    if data.dim() < 2 or data.numel() != data.shape[-1] * data.shape[-2] or data.numel() == 0:
        return None
    table = (data != 0).reshape(data.shape[-2:]) == wanted
    first = table[0]
    reach = int(first.sum()) - 1
    if not bool((table == torch.ones_like(table).tril(reach)).all()):
        return None
    return frozenset({Linear.of({Iota(1): 1, Iota(0): -1}, reach)})


def _of_data(data: torch.Tensor) -> Linear | None:
    """A constant: one number, or a range along the last dimension."""
    if data.numel() == 0:
        return None
    if data.numel() == 1:
        return Linear.of({}, int(data.item()))
    rows = data.reshape(-1, data.shape[-1])
    first = int(rows[0, 0])
    step = int(rows[0, 1] - rows[0, 0]) if rows.shape[1] > 1 else 0
    ramp = torch.arange(rows.shape[1]) * step + first
    return Linear.of({Iota(0): step}, first) if bool((rows == ramp).all()) else None
