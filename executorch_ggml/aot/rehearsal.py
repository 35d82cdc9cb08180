"""Lowers each partition once before the graph is cut, so that the backend does not meet a node that it cannot lower.

The dry run tries nodes one at a time. Some things only show when they come together: a size that none of the inputs
of a delegate determines, a state that one node reads while another writes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from executorch_ggml.ir.builder import IrError, Unsupported
from executorch_ggml.ir.dims import UnknownSize, free_symbols
from executorch_ggml.ir.fuse import fuse_epilogues
from executorch_ggml.ir.serialize import rewrite

from .lower_nodes import PartitionLowering, lower_node
from .node_view import meta_of, to_dim
from .program_view import ProgramView
from .symbols import SymbolBinder


def rehearse(
    ep: ExportedProgram, view: ProgramView, stages: Mapping[Node, int], owned: Collection[str]
) -> dict[Node, str]:
    """Nodes that cannot be lowered together with the rest of their partition, each with the reason.

    Args:
        ep: the whole edge program.
        view: of it.
        stages: the partition of each node that is to be delegated.
        owned: buffers that a delegate owns.
    """
    parts: dict[int, list[Node]] = {}
    for node in ep.graph.nodes:
        if node in stages:
            parts.setdefault(stages[node], []).append(node)
    found: dict[Node, str] = {}
    for nodes in parts.values():
        found.update(_Rehearsal(ep, view, nodes, owned).refusals())
    return found


class _Rehearsal(PartitionLowering):
    """The lowering of some nodes of a whole program; values that they read from elsewhere are arguments."""

    def __init__(self, ep: ExportedProgram, view: ProgramView, nodes: Sequence[Node], owned: Collection[str]) -> None:
        super().__init__(ep, view.options, "rehearsal")
        self.view = view
        self.nodes, self.owned = nodes, owned

    def refusals(self) -> dict[Node, str]:
        """The first node that fails, or those of which the sizes cannot be known; nothing when all is well."""
        at: Node = self.nodes[0]
        try:
            self._leaves()
            for at in self.nodes:
                self._current = self._position[at]
                if isinstance(at.meta.get("val"), (torch.Tensor, tuple, list)):
                    self.values[at] = lower_node(self.builder, at, self.values, self.view)
            at = self.nodes[-1]
            self._results()
            fuse_epilogues(self.builder.graph)
            self.builder.serialize()
        except UnknownSize as e:
            return dict.fromkeys(self._with_size(e.symbol) or [at], str(e))
        except Unsupported as e:
            return {at: str(e)}
        except IrError as e:
            return {at: f"internal: {e}"}
        return {}

    def _leaves(self) -> None:
        inside = set(self.nodes)
        dims: list[Any] = []
        scalars: list[Any] = []
        for source in dict.fromkeys(i for n in self.nodes for i in n.all_input_nodes if i not in inside):
            name = self.view.name_of(source)
            if name is None or (self.view.is_mutated(source) and name not in self.owned):
                self._argument(source, dims, scalars)
            elif self.view.is_mutated(source):
                self._state(source)
            else:
                self.values[source] = self.view.weight(self.builder, source, hash_constants=False)
        SymbolBinder(self.builder, self.ep.range_constraints).bind([*dims, *scalars])

    def _results(self) -> None:
        inside = set(self.nodes)
        results: Any = self.ep.graph.output_node().args[0]
        for spec, result in zip(self.ep.graph_signature.output_specs, results, strict=True):
            state = self.states.get(str(spec.target)) if spec.kind is OutputKind.BUFFER_MUTATION else None
            if state is not None and result in inside:
                value = self._tensor(result)
                if not self._is_in_place(value, state):
                    self.builder.cpy(value, state)
        for node in self.nodes:
            outside = [u for u in node.users if u not in inside]
            if outside and isinstance(node.meta.get("val"), torch.Tensor) and not self._is_state_alone(node, outside):
                meta = meta_of(node.meta["val"])
                self.builder.add_output(node.name, self._tensor(node), meta.shape, meta.dtype)

    def _is_state_alone(self, node: Node, outside: Sequence[Node]) -> bool:
        """Whether a result leaves the partition only as the new value of a state."""
        return node.name in self.view.mutated and all(u.op == "output" for u in outside)

    def _with_size(self, symbol: str) -> list[Node]:
        """Nodes with a result of a size that depends on a symbol, which no input determines."""
        return [
            n for n in self.nodes if any(symbol in _symbols(v, self.builder.graph.replacements) for v in _values(n))
        ]


def _values(node: Node) -> Sequence[Any]:
    val = node.meta.get("val")
    return val if isinstance(val, (tuple, list)) else (val,)


def _symbols(value: Any, replacements: Any) -> set[str]:
    if not isinstance(value, torch.Tensor):
        return set()
    return {s.name for d in value.shape for s in free_symbols(rewrite(to_dim(d), replacements))}
