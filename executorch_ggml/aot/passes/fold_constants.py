"""Small tensors that follow from parameters alone, computed once.

`1 + weight` of a Gemma norm, a scale cast to another type, the frequency table of a rotary embedding: each would cost
a kernel in every step. The result becomes a new constant; the parameter itself, which may be tied to another use, is
never touched. Large results are left in the graph: a private copy of a projection is worth more memory than time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from ._graph import GraphEditor, aten, is_call, is_tensor, value

LIMIT_BYTES = 1 << 16
"""A constant folded from parameters is at most this large; so is everything it is computed from."""

CREATED_BYTES = 1 << 20
"""The same for what follows from no parameter: positions and masks of a fixed size, which running would need too."""

_CREATION = (
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.full.default,
    aten.ones.default,
    aten.zeros.default,
    aten.scalar_tensor.default,
)


def _foldable(node: Node) -> bool:
    if not isinstance(node.target, torch._ops.OpOverload) or node.target.namespace != "aten":
        return False
    return not node.target._schema.is_mutable and torch.Tag.nondeterministic_seeded not in node.target.tags


def _is_view(node: Node) -> bool:
    """Whether the result may be the memory of the argument: a layout change alone costs nothing at run time."""
    returns = _overload(node)._schema.returns
    return bool(returns) and any(r.alias_info is not None for r in returns)


def _overload(node: Node) -> Any:
    return node.target


class _Known:
    """A known value: the data, whether a parameter is behind it, whether anything was computed."""

    def __init__(self, editor: GraphEditor, stored: bool) -> None:
        self.editor = editor
        self.unknown = set() if stored else _stored(editor.ep)
        self.data: dict[Node, torch.Tensor] = {}
        self.created: set[Node] = set()
        self.computed: set[Node] = set()

    def of(self, node: Node) -> torch.Tensor | None:
        if node in self.data:
            return self.data[node]
        return None if node.name in self.unknown else self.editor.constant(node)

    def add(self, node: Node) -> None:
        """Evaluates a call if its arguments are known and small enough."""
        sources = node.all_input_nodes
        inputs = {n: self.of(n) for n in sources}
        created = all(n in self.created for n in sources)
        limit = CREATED_BYTES if created else LIMIT_BYTES
        if any(d is None or d.numel() * d.element_size() > limit for d in inputs.values()):
            return
        fake = value(node)
        if not all(isinstance(d, int) for d in fake.shape) or fake.numel() * fake.element_size() > limit:
            return
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), inputs.__getitem__)
        if kwargs.get("device") is not None:  # a model without data still has the constants that it computes itself
            kwargs = {**kwargs, "device": torch.device("cpu")}
        with torch.no_grad(), torch.device("cpu"):
            self.data[node] = _overload(node)(*args, **kwargs)
        if created:
            self.created.add(node)
        if any(n in self.computed for n in sources) or (sources and not _is_view(node)):
            self.computed.add(node)


def _stored(ep: ExportedProgram) -> set[str]:
    """Placeholders of the contents of a checkpoint: parameters and persistent buffers."""
    specs = ep.graph_signature.input_specs
    parameters = {s.arg.name for s in specs if s.kind is InputKind.PARAMETER}
    return parameters | {s.arg.name for s in specs if s.kind is InputKind.BUFFER and s.persistent}


def fold_constants(ep: ExportedProgram, stored: bool = True) -> bool:
    """Evaluate, in place, every call of small constants; True if there was one.

    Args:
        stored: parameters and persistent buffers count as constants; False when a file may bring other ones.
    """
    editor = GraphEditor(ep)
    known = _Known(editor, stored)
    for node in list(editor.graph.nodes):
        if not is_call(node) or not is_tensor(node) or not _foldable(node):
            continue
        if node.all_input_nodes or node.target in _CREATION:
            known.add(node)
    for node in known.computed:
        if any(user not in known.data for user in node.users):
            editor.replace(node, editor.add_constant(known.data[node], "folded", value(node).device))
    return editor.finish()
