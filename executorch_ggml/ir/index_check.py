"""Whether row numbers that a payload itself holds or computes lie inside the tables that they index.

Follows ``csrc/ir/index_flow.cpp``; which operators move and index, both know from the schema. A graph only moves
integers, so values connected by moves form one class. Each source of a class must respect the smallest table that the
class indexes. Whether a source is acceptable at all does not depend on sizes; the native library decides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .operators import NO_SOURCE, operator
from .types import GgmlType, numpy_type

_INTEGERS = frozenset({GgmlType.I8, GgmlType.I16, GgmlType.I32, GgmlType.I64})


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
        facts = operator(name)
        if facts.row_numbers != NO_SOURCE:
            key, count = group[node.src[facts.row_numbers]], ne[node.src[0]][facts.axis]
            rows[key] = min(rows.get(key, count), count)
    for index, (node, name) in enumerate(zip(nodes, names, strict=True)):
        if group[index] not in rows or not integers[index]:
            continue
        most = -1
        places = operator(name).places
        if places != NO_SOURCE:
            most = ne[node.src[places]][0] - 1
        elif name == "ConstLeaf":
            constant = graph.constants[node.op.constant]
            raw = bytes(bytearray(constant.data))
            most = int(np.frombuffer(raw, dtype=numpy_type(GgmlType(constant.type))).max(initial=-1))
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
        if integers[index]:
            for operand in operator(names[index]).moved(len(node.src)):
                source = node.src[operand]
                if integers[source]:
                    parent[find(source)] = find(index)
    return [find(i) for i in range(len(nodes))]
