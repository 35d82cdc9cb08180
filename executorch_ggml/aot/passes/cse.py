"""Common subexpressions: one node per distinct computation."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, is_call

_RANDOM = torch.Tag.nondeterministic_seeded


def _key(item: Any) -> object:
    """A hashable form of an argument that equals another only if both mean the same."""
    if isinstance(item, Node):
        return ("node", item)
    if isinstance(item, (list, tuple)):
        return ("list", tuple(_key(x) for x in item))
    if isinstance(item, dict):
        return ("dict", tuple(sorted((k, _key(v)) for k, v in item.items())))
    if isinstance(item, slice):
        return ("slice", _key(item.start), _key(item.stop), _key(item.step))
    if isinstance(item, float):
        return ("float", item.hex() if item == item else "nan")  # 0.0 and -0.0 differ
    if isinstance(item, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        return ("sym", str(item.node.expr))
    return (type(item), item)


def eliminate_common_subexpressions(ep: ExportedProgram) -> bool:
    """Merge equal pure calls in place; True if any were merged.

    Outputs of the program keep nodes of their own, because a mutated buffer is named by the node that it becomes.
    """
    editor = GraphEditor(ep)
    seen: dict[object, Node] = {}
    for node in list(editor.graph.nodes):
        if not is_call(node):
            continue
        pure = node.target is operator.getitem or (
            isinstance(node.target, torch._ops.OpOverload)
            and not node.target._schema.is_mutable
            and _RANDOM not in node.target.tags
            and not node.is_impure()
        )
        if not pure:
            continue
        try:
            key = (node.target, _key(node.args), _key(node.kwargs))
            first = seen.setdefault(key, node)
        except TypeError:  # an argument that cannot be hashed
            continue
        if first is node:
            continue
        users = [user for user in node.users if user.op != "output"]
        for user in users:
            user.replace_input_with(node, first)
        editor.changed = editor.changed or bool(users)
    return editor.finish()
