"""Cuts a graph into partitions without cycles: nodes of one stage form one partition.

Stages count how often a path from the inputs enters the delegate again after leaving it. A supported node is as early
as its inputs allow; a node that stays on the host moves everything behind it one stage on. So one unsupported
operator in each block of a residual stack costs one more partition per block, and no partition can depend on itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch.fx import Node


def tensor_bytes(node: Node) -> int:
    """Bytes of a node's (first) result at the example size, 0 if it is not a tensor."""
    val: Any = node.meta.get("val")
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    if not isinstance(val, torch.Tensor):
        return 0
    total = val.element_size()
    for d in val.shape:
        hint = d if isinstance(d, int) else getattr(getattr(d, "node", None), "hint", None)
        total *= int(hint) if hint is not None else 1
    return int(total)


def assign(
    nodes: Iterable[Node], supported: Callable[[Node], bool], is_constant: Callable[[Node], bool]
) -> dict[Node, int]:
    """Stage of every supported node."""
    order = list(nodes)
    stage: dict[Node, int] = {}
    for node in order:
        if node.op != "call_function":
            stage[node] = 0
            continue
        inputs = node.all_input_nodes
        if supported(node):
            stage[node] = max((stage[i] for i in inputs), default=0)
        else:
            stage[node] = max((stage[i] + (1 if supported(i) else 0) for i in inputs), default=0)
    _sink(order, stage, supported, is_constant)
    return {n: s for n, s in stage.items() if supported(n)}


def _sink(
    order: list[Node],
    stage: dict[Node, int],
    supported: Callable[[Node], bool],
    is_constant: Callable[[Node], bool],
) -> None:
    """Moves a node to the first stage that reads it when that sends fewer bytes across the boundary."""
    depends_on_input: dict[Node, bool] = {}
    for node in order:
        if node.op == "placeholder":
            depends_on_input[node] = not is_constant(node)
        else:
            inputs = node.all_input_nodes
            depends_on_input[node] = any(depends_on_input[i] for i in inputs) if inputs else False
    for node in reversed(order):
        if node.op != "call_function" or not supported(node) or not node.users:
            continue
        users = list(node.users)
        if not all(supported(u) for u in users):
            continue
        target = min(stage[u] for u in users)
        if target <= stage[node]:
            continue
        crossing = sum(
            tensor_bytes(i)
            for i in node.all_input_nodes
            if depends_on_input[i] and not _read_later(i, node, target, stage, supported)
        )
        if not depends_on_input[node] or tensor_bytes(node) >= crossing:
            stage[node] = target


def _read_later(
    value: Node, reader: Node, target: int, stage: dict[Node, int], supported: Callable[[Node], bool]
) -> bool:
    """Whether a value crosses into ``target`` or beyond anyway, or is on the host."""
    if not supported(value):
        return True
    return any(u is not reader and supported(u) and stage[u] >= target > stage[value] for u in value.users)


def merge_getitems(stage: dict[Node, int], getitems: Collection[Node]) -> None:
    """Puts each pick of a multi-output node into the stage of that node."""
    for node in getitems:
        source = node.args[0]
        if isinstance(source, Node) and source in stage:
            stage[node] = stage[source]
