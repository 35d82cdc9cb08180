"""Asks every node's lowering whether it can be delegated, on metadata only, and keeps the reasons."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.ir.builder import Builder, DType, GgmlType, IrError, Kind, Unsupported, Value

from . import fp16_rounding
from .bounds import is_exact, of_input
from .integer_bounds import annotate
from .kv_caches import declare
from .lower_nodes import is_getitem, lower_node
from .node_view import is_empty, meta_of
from .program_view import ProgramView


@dataclass
class StateUse:
    """A mutable buffer that one delegate may own: its placeholder and every node that touches its memory."""

    placeholder: Node
    members: list[Node] = field(default_factory=list)


@dataclass
class Decisions:
    """Result of a dry run.

    Attributes:
        reasons: per call node, why it is not delegated; empty text: it can be.
        states: buffers that a delegate may own.
        not_owned: buffers that stay with ExecuTorch.
        stages: the partition of each delegated node, once cut.
        refused: nodes that could be lowered alone but not with the others of their partition.
    """

    reasons: dict[Node, str] = field(default_factory=dict)
    states: dict[str, StateUse] = field(default_factory=dict)
    not_owned: set[str] = field(default_factory=set)
    getitems: list[Node] = field(default_factory=list)
    stages: dict[Node, int] = field(default_factory=dict)
    refused: Mapping[Node, str] = field(default_factory=dict)

    def is_supported(self, node: Node) -> bool:
        """Whether a node can be delegated."""
        return self.reasons.get(node) == ""


def dry_run(
    ep: ExportedProgram,
    view: ProgramView,
    only: Collection[Any] | None = None,
    not_owned: Collection[str] = (),
    refused: Mapping[Node, str] = MappingProxyType({}),
) -> Decisions:
    """Decides about every call node (or those with a target in ``only``), but for those that are ``refused`` already.

    Each node is lowered alone on a scratch builder with its inputs as leaves. The function is the one that the backend
    runs later. Weights are looked up, but their data is not read.
    """
    out = Decisions(not_owned=set(not_owned), refused=refused)
    aliases = _state_aliases(ep, view, out)
    annotate(ep.graph, view)
    fp16_rounding.annotate(ep.graph)
    computed: dict[Node, GgmlType] = {}
    for node in ep.graph.nodes:
        if node.op != "call_function" or (only is not None and node.target not in only):
            continue
        if is_getitem(node):
            source = node.args[0]
            out.reasons[node] = "" if out.reasons.get(source) == "" else "its source is not delegated"
            out.getitems.append(node)
            continue
        out.reasons[node] = refused.get(node) or _try(node, view, aliases, computed)
    _keep_readable(out, view, aliases, computed)
    if only is None:
        _leave_with_readers(out, computed)
    stuck = _stuck(out)
    if stuck and only is None:
        # A buffer changed or read outside the delegates belongs to ExecuTorch.
        return dry_run(ep, view, only, out.not_owned | stuck, refused)
    return out


def _stuck(out: Decisions) -> set[str]:
    return {n for n, s in out.states.items() if not s.members or not all(out.is_supported(m) for m in s.members)}


def _state_aliases(ep: ExportedProgram, view: ProgramView, out: Decisions) -> dict[Node, str]:
    """Nodes that stand for the memory of a mutable buffer: its placeholder and the results of updates in place."""
    aliases: dict[Node, str] = {}
    if not view.mutated:
        return aliases
    by_name = {n.name: n for n in ep.graph.nodes}
    for node in ep.graph.nodes:
        name = view.name_of(node)
        # ExecuTorch's signatures name an output once: a value with two uses there cannot be told apart.
        if name in view.shared_results:
            out.not_owned.add(name)
        if name in view.mutated_buffers and name not in out.not_owned and _storable(node):
            aliases[node] = name
            out.states[name] = StateUse(node)
    for node in ep.graph.nodes:
        if node.op == "call_function" and _updates_first_argument(node) and node.args[0] in aliases:
            aliases[node] = aliases[node.args[0]]
    for result, name in view.mutated.items():
        if name in out.states and result in by_name and by_name[result].op == "call_function":
            out.states[name].members.append(by_name[result])
    for node, name in aliases.items():
        out.states[name].members.extend(u for u in node.users if u.op == "call_function")
        if node.op == "call_function":
            out.states[name].members.append(node)
    for use in out.states.values():
        cache = view.kv_cache(use.placeholder)
        use.members = list(dict.fromkeys([*use.members, *(cache.members if cache else ())]))
    return aliases


def _updates_first_argument(node: Node) -> bool:
    schema = getattr(getattr(node.target, "_op", node.target), "_schema", None)
    return schema is not None and schema.name in ("aten::index_copy", "aten::index_put")


def _double(node: Node) -> bool:
    val = node.meta.get("val")
    return isinstance(val, torch.Tensor) and val.dtype is torch.float64


def _storable(node: Node) -> bool:
    """Whether a delegate can keep a buffer exactly: float64 and integers stay with ExecuTorch."""
    val = node.meta.get("val")
    floats = (torch.float32, torch.float16, torch.bfloat16)
    return isinstance(val, torch.Tensor) and val.dtype in floats and 0 not in val.shape


def _floating(node: Node) -> bool:
    val = node.meta.get("val")
    return isinstance(val, torch.Tensor) and val.dtype.is_floating_point


def _keep_readable(out: Decisions, view: ProgramView, aliases: dict[Node, str], computed: dict[Node, GgmlType]) -> None:
    """Leaves integers on the host that a delegated reader needs there.

    Each node was tried with inputs that come from outside. Integers that the graph computes are F32 (or I32) inside
    it, which not every reader takes: an attention over a cache wants to see its positions before the graph runs.
    """
    for node, reason in list(out.reasons.items()):
        inside = {s: computed[s] for s in node.all_input_nodes if s in computed and out.is_supported(s)}
        if reason or is_getitem(node) or not inside:
            continue
        why = _try(node, view, aliases, computed, inside)
        if why:
            for source in inside:
                out.reasons[source] = f"{node.name} reads it from the host: {why}"


def _leave_with_readers(out: Decisions, computed: Mapping[Node, GgmlType]) -> None:
    """Leaves integers on the host that come from there and are read there.

    In a delegate they would cut the graph. The host could compute with them only after that delegate, and only another
    delegate could use its result.
    """
    for node in reversed(list(out.reasons)):
        if not out.is_supported(node) or node not in computed or any(map(_floating, node.all_input_nodes)):
            continue
        readers = [u for u in node.users if u.op == "call_function" and _tensor(u) and not out.is_supported(u)]
        if readers:
            out.reasons[node] = f"integers that {readers[0].name} reads on the host"


def _tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (torch.Tensor, tuple, list))


def _try(
    node: Node,
    view: ProgramView,
    aliases: dict[Node, str],
    computed: dict[Node, GgmlType],
    inside: Mapping[Node, GgmlType] = MappingProxyType({}),
) -> str:
    """The reason against delegating one node, or an empty string.

    A node with integers that would be elements of the graph is noted in ``computed``, with their type there; sources in
    ``inside`` are read as such.
    """
    val = node.meta.get("val")
    if not isinstance(val, (torch.Tensor, tuple, list)):
        return "computes a size, not a tensor"
    if any(is_empty(v) for v in (*_results_used(node), *(n.meta.get("val") for n in node.all_input_nodes))):
        return "a tensor without elements"
    if _may_revive(node):
        return "elements from a tensor that may have none"
    builder = Builder("dry run")
    values: dict[Node, Any] = {}
    try:
        for source in node.all_input_nodes:
            value = _leaf(builder, node, source, view, aliases)
            if source in inside and isinstance(value, Value) and value.kind is Kind.INPUT:
                value = builder.input_leaf(value, inside[source])
            if value is not None:
                values[source] = value
        result = lower_node(builder, node, values, view)
        if isinstance(result, Value) and _only_moves_doubles(node, result):
            return "float64 stays with ExecuTorch"
        if isinstance(result, Value) and result.kind is Kind.NODE and not result.dtype.is_float:
            computed[node] = result.type
    except Unsupported as e:
        return str(e) or "not supported"
    except IrError as e:
        # A lowering that contradicts export is a bug of ours; refusing keeps the program right.
        return f"internal: {e}"
    return ""


def _may_revive(node: Node) -> bool:
    """Whether a result has elements where a tensor that it is made from has none, as values decide (`x[mask].sum()`).

    A delegate leaves out empty tensors. Of sizes of the program's inputs it may refuse a 0, of such numbers not.
    """
    sources = [n.meta.get("val") for n in node.all_input_nodes]
    names = set().union(*(_may_vanish_with(v) for v in sources if isinstance(v, torch.Tensor)))
    results = [v for v in _results_used(node) if isinstance(v, torch.Tensor)]
    return any(not names <= _may_vanish_with(v) for v in results)


def _may_vanish_with(tensor: torch.Tensor) -> set[Any]:
    """Numbers of elements that depend on values, and of which a 0 makes the tensor empty."""
    found: set[Any] = set()
    sizes: list[Any] = list(tensor.shape)
    for size in sizes:
        if isinstance(size, torch.SymInt):
            expr, env = size.node.expr, size.node.shape_env
            for symbol in expr.free_symbols:
                if symbol.name.startswith("u") and expr.subs(symbol, 0) == 0 and env.bound_sympy(symbol).lower == 0:
                    found.add(symbol)
    return found


def _results_used(node: Node) -> list[Any]:
    """Results that something reads: batch norm has two more that are empty, and nobody's."""
    val = node.meta.get("val")
    if not isinstance(val, (tuple, list)):
        return [val]
    return [user.meta.get("val") for user in node.users if is_getitem(user)]


def _only_moves_doubles(node: Node, result: Value) -> bool:
    """Float64 that is moved, and cannot leave the delegate again. A literal takes the type of its readers."""
    if result.dtype is not DType.FLOAT64 or result.kind is Kind.NODE:
        return False
    if result.kind is not Kind.WEIGHT or node.meta["val"].numel() != 1:
        return True
    return not all(user.op == "call_function" and _floating(user) and not _double(user) for user in node.users)


def _leaf(
    builder: Builder, reader: Node, source: Node, view: ProgramView, aliases: dict[Node, str]
) -> Value | tuple[Value, ...] | None:
    val = source.meta.get("val")
    if isinstance(val, (tuple, list)):
        return tuple(
            builder.add_input(f"{source.name}.{i}", meta_of(v).shape, meta_of(v).dtype) for i, v in enumerate(val)
        )
    if not isinstance(val, torch.Tensor):
        return None
    if source in aliases:
        name = aliases[source]
        meta = meta_of(val)
        placeholder = source
        while placeholder.op != "placeholder":
            placeholder = placeholder.args[0]  # type: ignore[assignment]
        return declare(builder, name, tuple(int(d) for d in meta.shape), meta.dtype, view.kv_cache(placeholder))
    if view.name_of(source) is not None and not view.is_mutated(source):
        return view.weight(builder, source, hash_constants=False)
    meta = meta_of(val)
    return builder.add_input(source.name, meta.shape, meta.dtype, is_exact(of_input(reader, source)))
