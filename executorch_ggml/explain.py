"""explain(): which nodes ggml will run, which not and why, and what crosses between the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from . import flops, staging
from .lowering import source_line


@dataclass(frozen=True)
class NodeReport:
    """One operator of the edge program.

    Attributes:
        name, op: of the node.
        shape: of its first result, as text.
        delegated: whether ggml runs it.
        partition: number of its delegate, -1 on the host.
        reason: why it is not delegated.
        source: ``file:line`` of the model's code.
        flops: floating-point operations at the example sizes.
    """

    name: str
    op: str
    shape: str
    delegated: bool
    partition: int
    reason: str
    source: str
    flops: int = 0


@dataclass(frozen=True)
class PartitionReport:
    """One delegate: how many nodes, and the bytes that enter and leave it per call (at the example sizes)."""

    number: int
    nodes: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True)
class Explanation:
    """Report of a program; ``str()`` gives the text form."""

    nodes: tuple[NodeReport, ...]
    partitions: tuple[PartitionReport, ...]
    host_states: tuple[str, ...]

    @property
    def delegated(self) -> int:
        """Number of delegated nodes."""
        return sum(n.delegated for n in self.nodes)

    @property
    def flops_share(self) -> float:
        """Delegated part of all floating-point operations, 0 to 1 (1 when there are none)."""
        total = sum(n.flops for n in self.nodes)
        return sum(n.flops for n in self.nodes if n.delegated) / total if total else 1.0

    def refusals(self) -> dict[str, list[NodeReport]]:
        """Nodes that are not delegated, by operator and reason."""
        found: dict[str, list[NodeReport]] = {}
        for node in self.nodes:
            if not node.delegated:
                found.setdefault(f"{node.op}: {node.reason}", []).append(node)
        return found

    def __str__(self) -> str:
        lines = [
            f"{self.delegated} of {len(self.nodes)} operators run on ggml, in {len(self.partitions)} "
            f"delegate{'' if len(self.partitions) == 1 else 's'}: {self.flops_share:.1%} of the FLOPs"
        ]
        for p in self.partitions:
            lines.append(f"  delegate {p.number}: {p.nodes} nodes, {p.bytes_in} bytes in, {p.bytes_out} bytes out")
        refusals = sorted(self.refusals().items(), key=lambda item: -len(item[1]))
        if refusals:
            lines.append("left to ExecuTorch:")
        for title, nodes in refusals:
            lines.append(f"  {len(nodes)} x {title}")
            places = Counter(n.source for n in nodes if n.source)
            lines.extend(f"      {place}{f' ({count} times)' if count > 1 else ''}" for place, count in places.items())
        if self.host_states:
            lines.append("mutable buffers left to ExecuTorch: " + ", ".join(self.host_states))
        return "\n".join(lines)


def explain(
    model: ExportedProgram | torch.nn.Module,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    partitioner: Any = None,
) -> Explanation:
    """Lowers a model (nothing is written) and reports what happened to each operator.

    Args:
        model: an exported ATen program, or a module together with example ``args`` (and ``kwargs``).
        dynamic_shapes: for a module, as in ``torch.export.export``.
        partitioner: a ``GgmlPartitioner`` with the options of the real export.

    Raises:
        TypeError: a module without example inputs.
    """
    from executorch.exir import to_edge_transform_and_lower

    from .partitioner import GgmlPartitioner

    if isinstance(model, ExportedProgram):
        program = model
    elif args is None:
        raise TypeError("explain(module) needs example inputs")
    else:
        program = torch.export.export(
            model.eval(), tuple(args), dict(kwargs or {}), dynamic_shapes=dynamic_shapes, strict=False
        )
    recorder = recording(partitioner or GgmlPartitioner())
    to_edge_transform_and_lower(program, partitioner=[recorder])
    return recorder.explanation  # type: ignore[no-any-return]


def recording(partitioner: Any) -> Any:
    """A partitioner that does what ``partitioner`` does and keeps the report in its attribute ``explanation``.

    For lowering a program and explaining it in one go: the report is there after ``to_edge_transform_and_lower``.
    """
    from executorch.exir.backend.partitioner import Partitioner, PartitionResult

    class Recorder(Partitioner):  # type: ignore[misc]
        """Lets the partitioner work and notes what it decided, before the graph is cut up."""

        explanation: Explanation

        def transform_for_pre_decomposition(self, exported_program: ExportedProgram) -> ExportedProgram:
            return partitioner.transform_for_pre_decomposition(exported_program)  # type: ignore[no-any-return]

        def ops_to_not_decompose(self, ep: ExportedProgram) -> Any:
            return partitioner.ops_to_not_decompose(ep)

        def partition(self, exported_program: ExportedProgram) -> PartitionResult:
            result = partitioner.partition(exported_program)
            self.explanation = describe(exported_program, partitioner.decisions)
            return result

    return Recorder()


def describe(ep: ExportedProgram, decisions: Any) -> Explanation:
    """The report of one partitioned (not yet cut) edge program."""
    stages: Mapping[Node, int] = decisions.stages
    nodes = []
    for node in ep.graph.nodes:
        if node.op != "call_function":
            continue
        delegated = node in stages
        nodes.append(
            NodeReport(
                name=node.name,
                op=_operator(node),
                shape=_shape(node),
                delegated=delegated,
                partition=stages.get(node, -1),
                reason="" if delegated else decisions.reasons.get(node) or "not delegated",
                source=source_line(node),
                flops=flops.count(node),
            )
        )
    return Explanation(tuple(nodes), _partitions(stages, ep), tuple(sorted(decisions.not_owned)))


def _operator(node: Node) -> str:
    target: Any = getattr(node.target, "_op", node.target)
    return str(target) if hasattr(target, "_schema") else getattr(target, "__name__", str(target))


def _shape(node: Node) -> str:
    val = node.meta.get("val")
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    return str(list(val.shape)) if isinstance(val, torch.Tensor) else type(val).__name__


def _partitions(stages: Mapping[Node, int], ep: ExportedProgram) -> tuple[PartitionReport, ...]:
    arguments = set(ep.graph_signature.user_inputs)
    reports = []
    for number in sorted(set(stages.values())):
        members = {n for n, s in stages.items() if s == number}
        incoming = {
            i
            for n in members
            for i in n.all_input_nodes
            if i not in members and (i.op != "placeholder" or i.name in arguments)
        }
        outgoing = {n for n in members if any(u not in members for u in n.users)}
        reports.append(
            PartitionReport(
                number,
                len(members),
                sum(staging.tensor_bytes(i) for i in incoming),
                sum(staging.tensor_bytes(n) for n in outgoing),
            )
        )
    return tuple(reports)
