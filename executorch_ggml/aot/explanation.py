"""The report of a lowered program: which nodes ggml runs, which not and why, and the bytes between the two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.errors import UndelegatedError
from executorch_ggml.errors.tables import table

from . import flops, staging
from .boundary import FEWER_BYTES
from .host_kernels import missing
from .loadable import Finding, operator_name
from .lower_nodes import source_line

HOT_SHARE = 0.01
"""An undelegated operator with this part of all FLOPs is hot, wherever it stands."""


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
        share: part of all floating-point operations, 0 to 1.
        bytes_crossing: bytes of its result that cross between ggml and ExecuTorch, or between two delegates, per call.
            They count once for each delegate that reads it, and once if a delegate's result is read outside. Results
            and inputs of the program do not count.
        hot: not delegated although it has a part of the FLOPs that counts (``HOT_SHARE``), or stands between two
            delegates, which wait for it.
    """

    name: str
    op: str
    shape: str
    delegated: bool
    partition: int
    reason: str
    source: str
    flops: int = 0
    share: float = 0.0
    bytes_crossing: int = 0
    hot: bool = False


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
    on_device: DeviceReport | None = None
    """of the device that was asked for"""
    findings: tuple[Finding, ...] = ()
    """why the program could not be loaded, or not be called as it was exported; lowering raises UnloadableError"""
    failure: str = ""
    """why there is no lowered program at all; the nodes are then those of the exported one"""

    @property
    def delegated(self) -> int:
        """Number of delegated nodes."""
        return sum(n.delegated for n in self.nodes)

    @property
    def flops_share(self) -> float:
        """Delegated part of all floating-point operations, 0 to 1 (1 when there are none)."""
        total = sum(n.flops for n in self.nodes)
        return sum(n.flops for n in self.nodes if n.delegated) / total if total else 1.0

    @property
    def bytes_crossing(self) -> int:
        """Bytes between ggml and ExecuTorch per call, beside inputs and results of the program."""
        return sum(n.bytes_crossing for n in self.nodes)

    @property
    def hot(self) -> tuple[NodeReport, ...]:
        """Undelegated operators that cost time."""
        return tuple(n for n in self.nodes if n.hot)

    def refusals(self) -> dict[str, list[NodeReport]]:
        """Nodes that are not delegated, by operator and reason."""
        found: dict[str, list[NodeReport]] = {}
        for node in self.nodes:
            if not node.delegated:
                found.setdefault(f"{node.op}: {node.reason}", []).append(node)
        return found

    def require_delegated(self) -> None:
        """Raises UndelegatedError naming every hot node; does nothing when there is none."""
        if not self.hot:
            return
        count = "an operator" if len(self.hot) == 1 else f"{len(self.hot)} operators"
        lines = [f"the hot path is not all delegated, {count} would stay with ExecuTorch:"]
        for n in self.hot:
            place = f" [{n.source}]" if n.source else ""
            lines.append(f"  {n.name} ({n.op}, {n.share:.1%} of the FLOPs): {n.reason}{place}")
        raise UndelegatedError("\n".join(lines), self.hot)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: everything, and the sums."""
        return {
            "operators": len(self.nodes),
            "delegated": self.delegated,
            "flops_share": self.flops_share,
            "bytes_crossing": self.bytes_crossing,
            "hot": [n.name for n in self.hot],
            "host_states": list(self.host_states),
            "on_device": asdict(self.on_device) if self.on_device else None,
            "findings": [asdict(f) for f in self.findings],
            "failure": self.failure,
            "partitions": [asdict(p) for p in self.partitions],
            "nodes": [asdict(n) for n in self.nodes],
        }

    def table(self) -> str:
        """Every node in a row of its own."""
        rows = []
        for n in self.nodes:
            where = f"delegate {n.partition}" if n.delegated else "ExecuTorch" + (", hot" if n.hot else "")
            place = n.source.rpartition("/")[2]
            rows.append((n.name, n.op, n.shape, where, f"{n.share:.1%}", n.bytes_crossing or "", place))
        header = ("node", "operator", "shape", "runs on", "FLOPs", "bytes crossing", "source")
        return table(rows, header, right=(4, 5))

    def __str__(self) -> str:
        lines = [
            f"{self.delegated} of {len(self.nodes)} operators run on ggml, in {len(self.partitions)} "
            f"delegate{'' if len(self.partitions) == 1 else 's'}: {self.flops_share:.1%} of the FLOPs; "
            f"{self.bytes_crossing} bytes cross"
        ]
        for p in self.partitions:
            lines.append(f"  delegate {p.number}: {p.nodes} nodes, {p.bytes_in} bytes in, {p.bytes_out} bytes out")
        refusals = sorted(self.refusals().items(), key=lambda item: -len(item[1]))
        if refusals:
            lines.append("left to ExecuTorch:")
        for title, nodes in refusals:
            hot = sum(n.hot for n in nodes)
            lines.append(
                f"  {len(nodes)} x {title}" + (f" ({'' if hot == len(nodes) else f'{hot} '}hot)" if hot else "")
            )
            places = Counter(n.source for n in nodes if n.source)
            lines.extend(f"      {place}{f' ({count} times)' if count > 1 else ''}" for place, count in places.items())
        if self.host_states:
            lines.append("mutable buffers left to ExecuTorch: " + ", ".join(self.host_states))
        if self.findings:
            lines.append("cannot be loaded or called as exported, lowering refuses it:")
            lines.extend(f"  {finding}" for finding in self.findings)
        if self.failure:
            lines.append(f"cannot be lowered: {self.failure}")
        if self.on_device:
            lines.append(str(self.on_device))
        return "\n".join(lines)


def describe(ep: ExportedProgram, decisions: Any, provided: Collection[str] = ()) -> Explanation:
    """The report of one partitioned (not yet cut) edge program.

    Sizes are no operators: ExecuTorch has primitives for them, and no backend computes any.
    """
    stages: Mapping[Node, int] = decisions.stages
    calls = [n for n in ep.graph.nodes if n.op == "call_function" and _yields_tensors(n)]
    work = {n: flops.count(n) for n in calls}
    total = sum(work.values())
    between = _between(calls, stages)
    nodes = []
    for node in calls:
        delegated = node in stages
        share = work[node] / total if total else 0.0
        nodes.append(
            NodeReport(
                name=node.name,
                op=operator_name(node),
                shape=_shape(node),
                delegated=delegated,
                partition=stages.get(node, -1),
                reason="" if delegated else _reason(node, decisions, provided),
                source=source_line(node),
                flops=work[node],
                share=share,
                bytes_crossing=_crossing(node, stages),
                hot=not delegated and _is_hot(node, decisions, share, node in between),
            )
        )
    return Explanation(tuple(nodes), _partitions(stages, ep), tuple(sorted(decisions.not_owned)))


def _reason(node: Node, decisions: Any, provided: Collection[str]) -> str:
    reason = decisions.reasons.get(node) or "not delegated"
    return f"{reason}; no kernel in ExecuTorch either" if missing(node, provided) else reason


def _is_hot(node: Node, decisions: Any, share: float, between: bool) -> bool:
    # Nodes that were moved to the host to save bytes are there because of another node, which is reported.
    if not _yields_tensors(node) or decisions.reasons.get(node) == FEWER_BYTES:
        return False
    return between or share >= HOT_SHARE


def _between(calls: Sequence[Node], stages: Mapping[Node, int]) -> set[Node]:
    """Host nodes that a delegate waits for and that wait for one."""
    behind: set[Node] = set()
    for node in calls:
        if node not in stages and any(i in stages or i in behind for i in _tensor_inputs(node)):
            behind.add(node)
    found: set[Node] = set()
    for node in reversed(calls):
        if node in behind and any(u in stages or u in found for u in node.users if node in _tensor_inputs(u)):
            found.add(node)
    return found


def _tensor_inputs(node: Node) -> Collection[Node]:
    return [i for i in node.all_input_nodes if _yields_tensors(i)]


def _yields_tensors(node: Node) -> bool:
    return isinstance(node.meta.get("val"), (torch.Tensor, tuple, list))


def _crossing(node: Node, stages: Mapping[Node, int]) -> int:
    home = stages.get(node)
    readers = {stages.get(u) for u in node.users if u.op == "call_function"} - {home}
    if home is not None and readers:
        readers.add(None)  # a delegate's result goes through ExecuTorch's memory, also to another delegate
    return staging.tensor_bytes(node) * len(readers)


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


@dataclass(frozen=True)
class DeviceReport:
    """One run on a device.

    A delegate is one graph of one device. A node that the device's kernels do not take is refused, not left to the CPU.

    Attributes:
        device: its name.
        refused: nodes that it cannot run (number in the payload, ggml's operation); empty when it ran the model.
        nodes: that ran in the last delegate.
        splits: pieces that the last delegate's graph was cut into: 1.
    """

    device: str
    refused: tuple[str, ...] = ()
    nodes: int = 0
    splits: int = 0

    def __str__(self) -> str:
        if not self.refused:
            return f"on {self.device}: all of every delegate runs there, none of it on the CPU"
        return "\n".join([f"on {self.device}: it cannot run", *(f"  {node}" for node in self.refused)])
