"""Whether a payload's layout holds at given values of its symbols. The native library checks the same at load.

Ahead of time the question is whether a graph may run at a size that nobody has proved possible. So this follows
``csrc/ir/layout.cpp`` on the object tree that is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from .errors import IrError
from .expr import evaluate
from .index_check import index_problem
from .operators import operator

Four = tuple[int, ...]


@dataclass(frozen=True)
class _Layout:
    """Strides and offset in elements; ``root_size``: elements of the memory that the value lies in."""

    ne: Four
    strides: Four
    root_size: int
    offset: int = 0

    @property
    def is_contiguous(self) -> bool:
        return all(n == 1 or s == p for n, s, p in zip(self.ne, self.strides, _packed(self.ne), strict=True))

    @property
    def span(self) -> int:
        """Elements from the first to the last one, inclusive."""
        return 1 + sum((n - 1) * s for n, s in zip(self.ne, self.strides, strict=True))


def _packed(ne: Four) -> Four:
    return (1, ne[0], ne[0] * ne[1], ne[0] * ne[1] * ne[2])


def layout_problem(graph: Any, symbols: Sequence[int]) -> str:
    """The reason why the native library would refuse these values, or an empty string.

    Args:
        graph: the generated ``GraphT``.
        symbols: one value for each of its symbols.
    """
    try:
        _Checker(graph, symbols).run()
    except IrError as e:
        return str(e)
    return ""


class _Checker:
    def __init__(self, graph: Any, symbols: Sequence[int]) -> None:
        self.graph = graph
        self.exprs = [evaluate([(int(c.code), int(c.arg)) for c in e.code], symbols) for e in graph.exprs or []]
        self.layouts: list[_Layout] = []

    def _dims(self, encoded: Any) -> Four:
        return tuple(int(d) if d >= 0 else self.exprs[-1 - int(d)] for d in encoded)

    def run(self) -> None:
        shapes = [self._dims(s.ne) for s in self.graph.shapes]
        for index, ne in enumerate(shapes):
            if min(ne) < 1:
                raise IrError(f"shape {index} is {list(ne)}")
        for index, node in enumerate(self.graph.nodes):
            name = type(node.op).__name__[:-1]
            try:
                self.layouts.append(self._node(node, name, shapes[node.shape]))
            except IrError as e:
                raise IrError(f"node {index} ({name}): {e}") from None
        problem = index_problem(self.graph, [layout.ne for layout in self.layouts])
        if problem:
            raise IrError(problem)
        for item in self.graph.inputs or []:
            if item.kind == 0 and prod(self._dims(item.dims)) < 1:
                raise IrError(f"input {item.name} is empty")
        for item in self.graph.outputs:
            if prod(self._dims(item.dims)) != prod(self.layouts[item.value].ne):
                raise IrError(f"output {item.name} has another number of elements than its value")

    def _node(self, node: Any, name: str, ne: Four) -> _Layout:
        source: list[_Layout] = [self.layouts[i] for i in node.src]
        dense = _Layout(ne, _packed(ne), prod(ne))
        if name == "View":
            return _view(source[0], ne, self._dims(node.op.strides), self._dims([node.op.offset])[0])
        if name == "Permute":
            return _permute(source[0], ne, node.op.axes)
        if name == "Reshape":
            if prod(ne) != prod(source[0].ne) or not source[0].is_contiguous:
                raise IrError(f"{list(source[0].ne)} reshaped to {list(ne)}")
            return _Layout(ne, _packed(ne), source[0].root_size, source[0].offset)
        facts = operator(name)
        if facts.writes:
            result = source[facts.memory]
            if result.ne != ne:
                raise IrError("shape is not that of the destination")
            return result
        if name == "InputLeaf" and prod(self._dims(self.graph.inputs[node.op.input].dims)) != prod(ne):
            raise IrError("shape is not that of the input")
        if name == "CausalMask" and ne[1:] != (source[0].root_size, 1, 1):
            raise IrError("shape is not that of its positions")
        return dense


def _view(source: _Layout, ne: Four, strides: Four, offset: int) -> _Layout:
    result = _Layout(ne, strides, source.root_size, source.offset + offset)
    if ne[0] != 1 and strides[0] != 1:
        raise IrError(f"stride {strides[0]} along rows")
    if offset < 0 or min(strides) < 0 or offset + result.span > source.span:
        raise IrError("the view leaves its source")
    if prod(ne) > result.root_size - result.offset:
        raise IrError("the view has more elements than its memory")
    return result


def _permute(source: _Layout, declared: Four, axes: Sequence[int]) -> _Layout:
    ne, strides = [0] * 4, [0] * 4
    for i, axis in enumerate(axes):
        ne[axis], strides[axis] = source.ne[i], source.strides[i]
    if tuple(ne) != declared:
        raise IrError("shape is not the permuted shape of its source")
    return _Layout(tuple(ne), tuple(strides), source.root_size, source.offset)


def settle_lower_bounds(graph: Any, least: Sequence[int | None]) -> None:
    """Lowers each symbol's ``min`` to its entry in ``least`` where the graph holds there; None leaves it alone.

    The native library refuses a graph that does not hold with all symbols at their minimum, so the minima are tried
    together, and one after the other if that fails.
    """
    declared = [int(s.min) for s in graph.symbols or []]
    wanted = [d if low is None else min(low, d) for d, low in zip(declared, least, strict=True)]
    if wanted == declared:
        return
    if layout_problem(graph, wanted):
        settled = list(declared)
        for index, low in enumerate(wanted):
            trial = [*settled[:index], low, *settled[index + 1 :]]
            if low != settled[index] and not layout_problem(graph, trial):
                settled = trial
        wanted = settled
    for symbol, low in zip(graph.symbols, wanted, strict=True):
        symbol.min = low
