"""Whether row numbers that a payload itself holds or computes lie inside the tables that they index.

Follows ``csrc/ir/index_flow.cpp``. A graph only moves integers, so values connected by moves form one class. Each
source of a class must respect the smallest table that the class indexes. Whether a source is acceptable at all does not
depend on sizes; the native library decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .types import GgmlType, numpy_type

_MOVES = frozenset({"View", "Reshape", "Permute", "Cont", "Repeat", "Concat", "Cast", "GetRows"})
_INTEGERS = frozenset({GgmlType.I8, GgmlType.I16, GgmlType.I32, GgmlType.I64})
# Operand that holds row numbers, and the dimension of operand 0 that they count.
_USES = {"GetRows": (1, 1), "SetRows": (2, 1), "Scatter": (2, 1), "MulMatId": (2, 2)}


def index_problem(graph: Any, ne: Sequence[Sequence[int]]) -> str:
    """The index that is out of range, or an empty string.

    Args:
        graph: the generated ``GraphT``.
        ne: ggml dimensions of each of its nodes.
    """
    nodes = graph.nodes
    names = [type(node.op).__name__[:-1] for node in nodes]
    integers = [node.type in _INTEGERS for node in nodes]
    group = _classes(nodes, names, integers)
    rows: dict[int, int] = {}
    for node, name in zip(nodes, names, strict=True):
        if name in _USES:
            operand, axis = _USES[name]
            key, count = group[node.src[operand]], ne[node.src[0]][axis]
            rows[key] = min(rows.get(key, count), count)
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        if group[index] not in rows or not integers[index]:
            continue
        most = -1
        if name == "ConstLeaf":
            constant = graph.constants[node.op.constant]
            raw = bytes(bytearray(constant.data))
            most = int(np.frombuffer(raw, dtype=numpy_type(GgmlType(constant.type))).max(initial=-1))
        elif name in ("Argmax", "Argsort", "TopK"):
            most = ne[node.src[0]][0] - 1
        elif name == "Cast" and names[node.src[0]] == "Clamp":
            most = int(nodes[node.src[0]].op.max)
        if most >= rows[group[index]]:
            return f"node {index} ({name}): values up to {most} index a table of {rows[group[index]]} rows"
    return ""


def _classes(nodes: Sequence[Any], names: Sequence[str], integers: Sequence[bool]) -> list[int]:
    parent = list(range(len(nodes)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for index, node in enumerate(nodes):
        if integers[index] and names[index] in _MOVES:
            # Of a lookup in a table of integers, the second operand are row numbers: a use.
            for source in node.src[:1] if names[index] == "GetRows" else node.src:
                if integers[source]:
                    parent[find(source)] = find(index)
    return [find(i) for i in range(len(nodes))]
