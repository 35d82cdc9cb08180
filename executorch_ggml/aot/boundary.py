"""Which side of the boundary a cheap node lives on: the one that moves fewer bytes.

An ``expand`` between a delegated product and an operator of the host can run on either side. In the delegate it sends
the expanded tensor across, on the host the small one. Only nodes that both sides run equally well and in no time have
the choice: those that move, view, repeat or convert data. Every other supported node stays delegated.

Choosing sides for a group of such nodes is a minimum cut. Cutting a value costs its bytes once in each direction, for
any number of readers on the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import networkx as nx
import torch
from networkx.algorithms.flow import boykov_kolmogorov
from torch.fx import Node

from . import staging
from .dry_run import Decisions
from .registry import either_side

FEWER_BYTES = "moves fewer bytes across the boundary on ExecuTorch's side"
ONLY_MOVES = "only moves data between operators that are not delegated"


def settle(nodes: Iterable[Node], decisions: Decisions, is_constant: Callable[[Node], bool]) -> list[Node]:
    """Nodes that move fewer bytes on the host than in a delegate, each with its reason noted in ``decisions``.

    Only bytes between operators count: inputs and results of the program are in memory either way. Ties stay
    delegated. Nodes that read a constant or a mutable buffer have no choice: a delegate owns those.

    Args:
        nodes: of the program, in order.
        is_constant: whether a placeholder is a parameter or constant.
    """
    owned = {member for state in decisions.states.values() for member in state.members}
    free = {n for n in nodes if _has_choice(n, decisions, is_constant) and n not in owned}
    moved: list[Node] = []
    for group in _groups(free):
        around = [n for member in group for n in _neighbours(member) if n.op == "call_function" and n not in free]
        if all(map(decisions.is_supported, around)):
            continue
        torn = any(map(decisions.is_supported, around))
        for node in _Cut(group, decisions).host_side():
            decisions.reasons[node] = FEWER_BYTES if torn else ONLY_MOVES
            moved.append(node)
    return moved


def _has_choice(node: Node, decisions: Decisions, is_constant: Callable[[Node], bool]) -> bool:
    if node.op != "call_function" or not decisions.is_supported(node):
        return False
    if not either_side(node.target):
        return False
    tensors = [i for i in node.all_input_nodes if isinstance(i.meta.get("val"), torch.Tensor)]
    return bool(tensors) and not any(is_constant(i) for i in tensors)


def _neighbours(node: Node) -> list[Node]:
    return [*node.all_input_nodes, *node.users]


def _fellow_readers(node: Node) -> list[Node]:
    """Once a value crosses for one of its readers, it is there for all of them: they choose together."""
    return [u for i in node.all_input_nodes if i.op == "call_function" for u in i.users]


def _groups(free: Collection[Node]) -> list[list[Node]]:
    """Connected components."""
    left = dict.fromkeys(free)
    groups = []
    while left:
        start = next(iter(left))
        del left[start]
        group, waiting = [], [start]
        while waiting:
            node = waiting.pop()
            group.append(node)
            for other in (*_neighbours(node), *_fellow_readers(node)):
                if other in left:
                    del left[other]
                    waiting.append(other)
        groups.append(group)
    return groups


_HOST, _DELEGATE = "host", "delegate"
_Vertex = Node | str | tuple[str, Node]


class _Cut:
    """The minimum cut of one group. Of the cuts that cost the same, the one with the fewest nodes on the host."""

    def __init__(self, group: list[Node], decisions: Decisions) -> None:
        self._group = dict.fromkeys(group)
        self._decisions = decisions
        # From the delegate's side to the host's. An edge without a capacity is never cut.
        self._graph = nx.DiGraph()
        self._graph.add_nodes_from((_HOST, _DELEGATE, *group))
        values = dict.fromkeys(i for n in group for i in (*n.all_input_nodes, n))
        for value in values:
            self._value(value)

    def _vertex(self, node: Node) -> _Vertex | None:
        """None for inputs and results of the program, which are on neither side."""
        if node in self._group:
            return node
        if node.op != "call_function":
            return None
        return _DELEGATE if self._decisions.is_supported(node) else _HOST

    def _value(self, value: Node) -> None:
        source, size = self._vertex(value), staging.tensor_bytes(value)
        if source is None or not size:
            return
        out, back = ("out", value), ("back", value)  # paid when the value leaves a delegate, enters one
        self._graph.add_edge(source, out, capacity=size)
        self._graph.add_edge(back, source, capacity=size)
        for user in value.users:
            reader = self._vertex(user)
            if reader is not None:
                self._graph.add_edge(out, reader)
                self._graph.add_edge(reader, back)

    def host_side(self) -> list[Node]:
        """Nodes of the group that belong on the host, in order."""
        _, (_, host) = nx.minimum_cut(self._graph, _DELEGATE, _HOST, flow_func=boykov_kolmogorov)
        return [n for n in self._group if n in host]
