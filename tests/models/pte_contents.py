"""Looks into a `.pte` with ExecuTorch's own reader and the IR's generated classes: no native code of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.schema import DelegateCall

from executorch_ggml.ir import _ggml_ir as ir


@dataclass
class Pte:
    """The method `forward` of a `.pte`. graph: the payload of its only delegate; others: everything else it runs."""

    graph: Any
    delegates: int
    others: list[str]
    methods: list[str]
    constants: dict[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> set[str]:
        """First key of every part of every weight."""
        return {part.keys[0].decode() for slot in self.graph.weights for part in slot.parts}

    @property
    def expectations(self) -> dict[str, str]:
        return {e.key.decode(): e.value.decode() for e in self.graph.expectations}

    def count(self, op: str) -> int:
        """Nodes of one kind."""
        number = getattr(ir.Op, op)
        return sum(node.opType == number for node in self.graph.nodes)


def read(path: str | Path) -> Pte:
    program = deserialize_pte_binary(Path(path).read_bytes()).program
    plans = {plan.name: plan for plan in program.execution_plan}
    forward = plans["forward"]
    calls = [i.instr_args for chain in forward.chains for i in chain.instructions]
    delegates = [call for call in calls if isinstance(call, DelegateCall)]
    others = [
        forward.operators[call.op_index].name if hasattr(call, "op_index") else type(call).__name__
        for call in calls
        if not isinstance(call, DelegateCall)
    ]
    payload = program.backend_delegate_data[forward.delegates[0].processed.index].data
    root = ir.Graph.GetRootAs(bytes(payload), 0)
    constants = {name: plan.values[plan.outputs[0]].val for name, plan in plans.items() if name != "forward"}
    return Pte(ir.GraphT.InitFromObj(root), len(delegates), others, sorted(plans), constants)
