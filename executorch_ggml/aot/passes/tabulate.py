"""Integer functions that take a detour through floats, as a table.

The bucket of a relative position is `8 + int(log(distance / 8) / log(16) * 8)`: where the result of the logarithm is
next to an integer, another rounding is another bucket. A function of one integer of known bounds has few values; torch
computes them ahead of time, and the graph looks them up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot.bounds import Range
from executorch_ggml.aot.integer_bounds import IntegerBounds

from ._graph import GraphEditor, args_of, aten, is_call, is_tensor, same_shape, shape, value

LIMIT = 1 << 16
"""Entries of a table at most."""

_ELEMENTWISE = {
    aten.abs.default,
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.div.Tensor_mode,
    aten.neg.default,
    aten.log.default,
    aten.log2.default,
    aten.sqrt.default,
    aten.exp.default,
    aten.floor.default,
    aten.ceil.default,
    aten.round.default,
    aten.trunc.default,
    aten.min.other,
    aten.minimum.default,
    aten.max.other,
    aten.maximum.default,
    aten.clamp.default,
    aten.clamp_min.default,
    aten.clamp_max.default,
    aten.where.self,
    aten.where.ScalarOther,
    aten.where.ScalarSelf,
    aten.where.Scalar,
    aten.full_like.default,
    aten._to_copy.default,
    *(getattr(aten, name).Scalar for name in ("gt", "ge", "lt", "le", "eq", "ne")),
    *(getattr(aten, name).Tensor for name in ("gt", "ge", "lt", "le", "eq", "ne")),
}


def _is_step(node: object) -> bool:
    return isinstance(node, Node) and is_call(node) and node.target in _ELEMENTWISE and is_tensor(node)


def _is_integer(node: Node) -> bool:
    return value(node).dtype in (torch.int64, torch.int32)


def _cone(end: Node, start: Node | None) -> list[Node] | None:
    """The elementwise calls that `end` is computed with, in order, from `start` and numbers alone.

    Without a start: all elementwise calls behind `end`, with any start. None if anything else is read.
    """
    found: dict[Node, None] = {}

    def visit(node: Node) -> bool:
        if node is start or node in found:
            return True
        if not _is_step(node):
            return start is None
        if not all(visit(source) for source in node.all_input_nodes):
            return False
        found[node] = None
        return True

    return list(found) if visit(end) else None


def _rounds_floats(node: Node) -> bool:
    if not is_call(node, aten._to_copy.default) or not _is_integer(node):
        return False
    source = args_of(node)[0]
    return is_tensor(source) and value(source).dtype.is_floating_point


def _start(end: Node, bounds: IntegerBounds) -> tuple[Node, list[Node], Range] | None:
    """(x, the calls from x to `end`, bounds of x), x being as close to `end` as can be."""
    behind = _cone(end, None) or []
    if not any(map(_rounds_floats, behind)):
        return None
    for x in reversed(behind):
        limits = bounds.of(x) if x is not end and _is_integer(x) and same_shape(shape(x), shape(end)) else None
        calls = None if limits is None or limits[1] - limits[0] >= LIMIT else _cone(end, x)
        if limits is not None and calls is not None and any(map(_rounds_floats, calls)):
            return x, calls, limits
    return None


def _values(x: Node, calls: list[Node], limits: Range) -> torch.Tensor:
    """The results of the last call for each value that x can have."""
    known: dict[Node, Any] = {x: torch.arange(limits[0], limits[1] + 1, dtype=value(x).dtype)}
    for node in calls:
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), known.__getitem__)
        target: Any = node.target
        with torch.no_grad():
            known[node] = target(*args, **kwargs)
    result: torch.Tensor = known[calls[-1]]
    return result


def tabulate(ep: ExportedProgram) -> bool:
    """Replace, in place, integer functions of one bounded integer that round floats by a table; True if any was."""
    editor = GraphEditor(ep)
    bounds = IntegerBounds(editor)
    done: set[Node] = set()
    for node in reversed(list(editor.graph.nodes)):
        if node.op == "call_function" and done.issuperset(node.users):
            done.add(node)  # part of a function that is a table already, or dead
            continue
        if not _is_step(node) or not _is_integer(node):
            continue
        found = _start(node, bounds)
        if found is None:
            continue
        x, calls, limits = found
        table = editor.add_constant(_values(x, calls, limits), "table")
        places = editor.call(node, aten.sub.Tensor, x, limits[0]) if limits[0] else x
        editor.replace(node, editor.call(node, aten.index.Tensor, table, [places]))
        done.add(node)
    return editor.finish()
