"""Which IR node holds the value of which torch node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Node

from executorch_ggml.analysis.reference import decoded
from executorch_ggml.aot.backend import decode_options
from executorch_ggml.aot.lower_nodes import PartitionLowering
from executorch_ggml.errors import InternalError
from executorch_ggml.ir.graph import Graph
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.ir.value import Kind, Value


class LoweredDelegate:
    """One delegate of a lowered program, with its nodes mapped.

    Lowering is deterministic, so lowering the partition again gives the values' places in the payload.

    Attributes:
        nodes: index in the payload of the IR node with the value of each torch node. Torch nodes without one (sizes,
            plain weights, several results) are left out.
        graph: the payload as an object tree.
        weights: the parameters in the ``.pte`` that differ from the model's (quantised ones), decoded, under their
            names in the program.
        weight_types: names of the ggml types of the weights.
    """

    def __init__(self, module: Any) -> None:
        self.payload: bytes = module.processed_bytes
        self.graph = deserialize(self.payload)
        self.data = decoded(module)
        lowering = PartitionLowering(module.original_module, decode_options(module.compile_specs), "diff")
        graph = lowering.run().graph
        number = {old: new for new, old in enumerate(graph.live())}
        if len(number) != len(self.graph.nodes):
            raise InternalError(f"lowered again, the graph has {len(number)} nodes, not {len(self.graph.nodes)}")
        holders = _Holders(graph, lowering.joined)
        self.nodes: dict[Node, int] = {}
        for node, value in lowering.values.items():
            if node.op == "call_function" and isinstance(value, Value) and value.kind is Kind.NODE:
                index = number.get(holders.of(value.node))
                if index is not None:
                    self.nodes[node] = index
        self.weight_types = {GgmlType(int(slot.type)).name for slot in self.graph.weights or []}
        self.weights = self._quantised(lowering)

    def _quantised(self, lowering: PartitionLowering) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        types = {_text(part.keys[0]): int(s.type) for s in self.graph.weights or [] for part in s.parts}
        for node in lowering.values:
            name = lowering.view.name_of(node)
            tensor = lowering.view.tensor_of(node) if name is not None else None
            if name is None or tensor is None or not tensor.dtype.is_floating_point:
                continue
            for key, kind in types.items():
                # Quantised data is stored under ``name#type``, or ``name@content#type`` where a name is ambiguous.
                data = self.data.get(key) if key.rpartition("#")[0].partition("@")[0] == name else None
                if data is not None and data.size == tensor.numel() and kind != GgmlType.F32:
                    found[name] = torch.from_numpy(data).reshape(tensor.shape).to(tensor.dtype)
        return found


class _Holders:
    """Where values are after products took in the activations behind them.

    Such a product has the value of the activation, and so have the reshapes between the two. Their own values are gone.
    If two activations followed the product, the value of the first is gone too.
    """

    def __init__(self, graph: Graph, joined: Mapping[int, int]) -> None:
        self._joined = joined
        self._changed: set[int] = set()
        self._last: dict[int, int] = {}
        for index, holder in sorted(joined.items()):
            while graph.nodes[holder].op == "Reshape":
                self._changed.add(holder)
                holder = graph.nodes[holder].src[0]
            self._changed.add(holder)
            self._last[holder] = index
        self._current = set(self._last.values())

    def of(self, index: int) -> int:
        """The node with the value that node ``index`` was made for, -1 when there is none."""
        if index in self._joined:
            return self._joined[index] if index in self._current else -1
        return -1 if index in self._changed else index


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
