"""Finds the bounds of a program's integers, from its constants, its dynamic sizes and the rules of its operators."""

from __future__ import annotations

import operator
from typing import Any, Protocol

import torch
from torch.fx import Node

from .bounds import META, Range
from .node_view import overload_of
from .registry import bounds_rule, plain_name

_NARROW = (torch.uint8, torch.int8, torch.int16)

SEARCHES = frozenset({"topk", "sort", "max", "min", "median", "mode", "kthvalue", "cummax", "cummin"})
"""Operators whose second result is positions along a dimension."""


def annotate(graph: torch.fx.Graph, view: HasConstants) -> None:
    """Notes at every call node the bounds of its integer result and of the integers that it reads.

    Of a result that may wrap around, none: ggml, which computes in F32, cannot have it. Its readers see the bounds of
    its type.
    """
    known = IntegerBounds(view)
    for node in graph.nodes:
        if node.op == "call_function":
            node.meta[META] = {
                "result": known.computed(node),
                "inputs": tuple(known.of(source) for source in node.all_input_nodes),
            }


class HasConstants(Protocol):
    """The source of the data of a program's constants: a ``ProgramView``, or a pass's ``GraphEditor``."""

    def constant(self, node: Node) -> torch.Tensor | None:
        """The data of something that never changes, or None."""


class IntegerBounds:
    """Bounds of one program's integers, worked out when asked for."""

    def __init__(self, view: HasConstants) -> None:
        self.view = view
        self.known: dict[Node, Range | None] = {}

    def of(self, node: Any) -> Range | None:
        """Bounds of an integer or boolean tensor, of a number, or of a size."""
        if isinstance(node, bool):
            return int(node), int(node)
        if isinstance(node, int):
            return node, node
        if isinstance(node, torch.SymInt):
            return size_bounds(node)
        if not isinstance(node, Node):
            return None
        if node not in self.known:
            self.known[node] = self._tensor(node)
        return self.known[node]

    def computed(self, node: Node) -> Range | None:
        """Bounds of the result of an operator; None when nothing is known, or when it may wrap around."""
        dtype = _integer_type(node)
        if dtype is None:
            return self.of(node)
        found = self._found(node)
        if dtype is torch.bool:
            return found or (0, 1)
        info = torch.iinfo(dtype)
        return found if found is not None and info.min <= found[0] and found[1] <= info.max else None

    def _tensor(self, node: Node) -> Range | None:
        val = node.meta.get("val")
        if isinstance(val, (int, torch.SymInt)):
            return self.of(val)
        dtype = _integer_type(node)
        if dtype is None:
            return None
        natural = _natural(dtype)
        if node.op == "call_function" and dtype is not torch.bool:
            found = self.computed(node)
        else:
            found = self._found(node)
        if found is None or natural is None:
            return found if natural is None else natural
        return max(found[0], natural[0]), min(found[1], natural[1])

    def _found(self, node: Node) -> Range | None:
        """The bounds by constants or by the operator's rule."""
        if node.op == "placeholder":
            return self._constant(node)
        return self._call(node) if node.op == "call_function" else None

    def _constant(self, node: Node) -> Range | None:
        data = self.view.constant(node)
        if data is None:
            return _row_numbers(node)
        if data.numel() == 0 or data.numel() > 1 << 22:
            return None
        return int(data.min()), int(data.max())

    def _call(self, node: Node) -> Range | None:
        if node.target is operator.getitem:
            return self._part(node)
        rule = bounds_rule(node.target)
        found: Range | None = None if rule is None else rule(self, node)
        return found

    def _part(self, node: Node) -> Range | None:
        """One of several results: positions from a sort or a search lie inside the dimension searched."""
        source: Any = node.args[0]
        name = plain_name(source)
        if node.args[1] != 1 or name not in SEARCHES:
            return self.of(source)
        searched: Any = source.args[0]
        rank = len(searched.meta["val"].shape)
        dim = argument_of(source, 2, "dim", -1) if name == "topk" else argument_of(source, 1, "dim", -1)
        if name == "sort" and overload_of(source.target) is torch.ops.aten.sort.stable:
            dim = source.kwargs.get("dim", -1)
        size = dimension(searched, int(dim)) if rank else (1, 1)
        return None if size is None else (0, max(size[1] - 1, 0))


def _row_numbers(node: Node) -> Range | None:
    """Bounds of an argument of the program that names rows of a table: others are an error in torch as well."""
    for user in node.users:
        if user.op == "call_function" and str(overload_of(user.target)) == "aten.embedding.default":
            table, ids = user.args[:2]
            rows = table.meta["val"].shape[0] if isinstance(table, Node) else None
            if ids is node and isinstance(rows, int):
                return 0, rows - 1
    return None


def _integer_type(node: Node) -> torch.dtype | None:
    """Type of the (first) tensor that a node stands for, if those are integers or booleans."""
    val = node.meta.get("val")
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    if not isinstance(val, torch.Tensor) or val.dtype.is_floating_point or val.dtype.is_complex:
        return None
    return val.dtype


def _natural(dtype: torch.dtype) -> Range | None:
    if dtype is torch.bool:
        return 0, 1
    if dtype in _NARROW:
        info = torch.iinfo(dtype)
        return info.min, info.max
    return None


def size_bounds(size: torch.SymInt) -> Range | None:
    """Bounds of a symbolic size, as export declares them."""
    try:
        found = size.node.shape_env.bound_sympy(size.node.expr)
        return int(found.lower), int(found.upper)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def dimension(node: Node, dim: int) -> Range | None:
    shape = node.meta["val"].shape
    size = shape[dim] if len(shape) else 1  # torch takes a number for one of one entry
    return (size, size) if isinstance(size, int) else size_bounds(size)


def argument_of(node: Node, index: int, name: str, default: Any = None) -> Any:
    return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)
