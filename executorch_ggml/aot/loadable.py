"""Checks a lowered program against the limits of the runtime: lowering refuses those that would not load.

ExecuTorch writes a ``.pte`` for programs that no runtime can load: operators without a kernel, sizes without an upper
bound. Others load and then refuse each call that the export promised.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from executorch_ggml.errors import UnloadableError
from executorch_ggml.ir.dims import INT64_MAX

from . import host_kernels
from .input_sizes import InputSizes, ranges, user_inputs
from .lower_nodes import source_line
from .node_view import overload_of

REFUSED = "ggml_refused"
"""Under this name a node that stays outside keeps the reason why ggml does not run it."""

_BACKEND = "GgmlBackend"


@dataclass(frozen=True)
class Finding:
    """One fault of a lowered program.

    Attributes:
        kind: ``kernel``: an operator outside our delegates that ExecuTorch cannot run. ``size``: an input that lost
            sizes it was exported for. ``type``: a result of another type than exported. ``bound``: a size without an
            upper bound. ``layout``: a tensor that a delegate does not take in its layout in memory. ``empty``: a
            tensor without elements at a delegate.
        node, op: where; the operator is empty for an input.
        reason: the fault, and the cure if it is known.
        source: ``file:line`` of the model's code, where it is known.
    """

    kind: Literal["kernel", "size", "type", "bound", "layout", "empty"]
    node: str
    op: str
    reason: str
    source: str = ""

    def __str__(self) -> str:
        place = f" [{self.source}]" if self.source else ""
        return f"{self.node}{f' ({self.op})' if self.op else ''}: {self.reason}{place}"


def check(ep: ExportedProgram, sizes: InputSizes | None = None, provided: Collection[str] = ()) -> list[Finding]:
    """Faults of one method, in the order of execution.

    Args:
        ep: an edge program after partitioning.
        sizes: those that its inputs were exported for.
        provided: kernels of the user's runtime beside ExecuTorch's own (``namespace::name.overload``).
    """
    found = [Finding("size", node.name, "", reason) for node, reason in (sizes.lost(ep) if sizes else [])]
    found += [Finding("type", node.name, "", reason) for node, reason in (sizes.changed_types(ep) if sizes else [])]
    unbounded = _unbounded(ep)
    found += unbounded
    for node in _calls(ep.graph_module):
        if getattr(node.target, "__name__", "") == "executorch_call_delegate":
            found += _delegate(ep.graph_module, node)
        elif reason := host_kernels.missing(node, provided):
            ours = node.meta.get(REFUSED)
            reason += f"; ggml does not run it: {ours}" if ours else ""
            found.append(Finding("kernel", node.name, operator_name(node), reason, source_line(node)))
        elif not unbounded and _has_no_bound(node):
            reason = "its result has no upper bound, so ExecuTorch cannot plan memory for it; torch._check one"
            found.append(Finding("bound", node.name, operator_name(node), reason, source_line(node)))
    return found


def require(findings: Sequence[Finding]) -> None:
    """Raises UnloadableError that lists all findings; does nothing when there is none."""
    if not findings:
        return
    count = "one thing is" if len(findings) == 1 else f"{len(findings)} things are"
    lines = [f"the program would be written but could not be loaded or called as exported, {count} in the way:"]
    raise UnloadableError("\n".join([*lines, *(f"  {f}" for f in findings)]), findings)


def operator_name(node: Node) -> str:
    """The ATen name of a call node's target, or the name of a Python function."""
    target: Any = overload_of(node.target)
    return str(target) if hasattr(target, "_schema") else str(getattr(target, "__name__", target))


def _calls(module: GraphModule) -> Iterator[Node]:
    """Call nodes of a graph and of the branches and bodies of its control flow."""
    for node in module.graph.nodes:
        if node.op == "call_function":
            yield node
        elif node.op == "get_attr":
            inner = getattr(module, str(node.target), None)
            if isinstance(inner, GraphModule):
                yield from _calls(inner)


def _unbounded(ep: ExportedProgram) -> list[Finding]:
    found = []
    for node in user_inputs(ep):
        for dim, (_, high) in enumerate(ranges(node, ep.range_constraints)):
            if high >= INT64_MAX:
                advice = f"give torch.export an upper bound: dynamic_shapes={{{dim}: torch.export.Dim(name, max=...)}}"
                found.append(Finding("bound", node.name, "", f"dimension {dim} has no upper bound; {advice}"))
    return found


def _has_no_bound(node: Node) -> bool:
    """Whether a result has as many elements as its input's values say, without a limit."""
    from executorch.exir.sym_util import eval_shape_upper_bound

    val = node.meta.get("val")
    for part in val if isinstance(val, (tuple, list)) else (val,):
        if isinstance(part, torch.Tensor) and not all(isinstance(d, int) for d in part.shape):
            try:
                eval_shape_upper_bound(part.shape)
            except RuntimeError:
                return True
    return False


def _delegate(module: GraphModule, node: Node) -> Iterator[Finding]:
    name = str(node.args[0].target)  # type: ignore[union-attr]
    if getattr(getattr(module, name, None), "backend_id", "") != _BACKEND:
        return
    results = node.meta.get("val")
    tensors = [(i.name, i.meta.get("val")) for i in node.all_input_nodes]
    tensors += [(name, v) for v in (results if isinstance(results, (tuple, list)) else (results,))]
    for at, val in tensors:
        if not isinstance(val, torch.Tensor):
            continue
        if any(isinstance(d, int) and d == 0 for d in val.shape):
            yield Finding("empty", at, "", f"shape {list(val.shape)} has no elements, which ggml cannot hold")
        elif (order := [int(d) for d in val.dim_order()]) != list(range(val.dim())):
            reason = f"its dimensions lie in the order {order} (channels-last?), and a delegate takes row-major ones"
            advice = "export with inputs and weights that are .contiguous()"
            yield Finding("layout", at, "", f"{reason}; {advice}")
