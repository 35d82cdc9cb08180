"""Small tensors that follow from parameters alone, computed once.

`1 + weight` of a Gemma norm, a scale cast to another type, the frequency table of a rotary embedding: each would cost
a kernel in every step. The result becomes a new constant; the parameter itself, which may be tied to another use, is
never touched. Large results are left in the graph: a private copy of a projection is worth more memory than time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, is_call, is_tensor, value

LIMIT_BYTES = 1 << 16
"""A folded constant is at most this large; so is everything it is computed from."""


def _foldable(node: Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
        return False
    if node.target._schema.is_mutable or torch.Tag.nondeterministic_seeded in node.target.tags:
        return False
    # An unused parameter of a view is still the parameter: a layout change alone costs nothing at run time.
    return not (node.target._schema.returns and any(r.alias_info is not None for r in node.target._schema.returns))


def _overload(node: Node) -> Any:
    return node.target


def fold_constants(ep: ExportedProgram) -> bool:
    """Evaluate, in place, every call whose arguments are small constants; True if there was one."""
    editor = GraphEditor(ep)
    known: dict[Node, torch.Tensor] = {}

    def data(node: Node) -> torch.Tensor | None:
        return known[node] if node in known else editor.constant(node)

    for node in list(editor.graph.nodes):
        if not is_call(node) or not is_tensor(node) or not node.all_input_nodes or not _foldable(node):
            continue
        inputs = {n: data(n) for n in node.all_input_nodes}
        if any(d is None or d.numel() * d.element_size() > LIMIT_BYTES for d in inputs.values()):
            continue
        fake = value(node)
        if not all(isinstance(d, int) for d in fake.shape) or fake.numel() * fake.element_size() > LIMIT_BYTES:
            continue
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), inputs.__getitem__)
        with torch.no_grad():
            known[node] = _overload(node)(*args, **kwargs)
    for node, result in known.items():
        if any(user not in known for user in node.users):
            editor.replace(node, editor.add_constant(result, "folded"))
    return editor.finish()
