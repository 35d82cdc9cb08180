"""The result of lowering: ExecuTorch's manager of edge programs, which knows about states.

A buffer that no delegate owns lies in ExecuTorch's memory. ExecuTorch gives it no initial value, and each method a
place of its own, unless it is told otherwise; that is done here. The names of these states go into the `.pte`, so that
`Program` can reset them and carry them from one method to another.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from executorch.exir import EdgeProgramManager, ExecutorchBackendConfig
from executorch.exir.passes import MemoryPlanningPass
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from executorch_ggml.errors import GgmlError, LoweringError
from executorch_ggml.ir.serialize import deserialize

from .backend import GgmlBackend
from .program_view import has_data
from .torch_errors import described

STATES_KEY = "executorch_ggml.states"
"""Named data of a `.pte`: per method, names of the states in ExecuTorch's memory, in the order of its values."""


class LoweredProgram(EdgeProgramManager):  # type: ignore[misc]
    """As ``EdgeProgramManager``; ``to_executorch`` gives states their initial values and shares them among methods."""

    def transform(self, *args: Any, **kwargs: Any) -> LoweredProgram:
        """As ``EdgeProgramManager.transform``."""
        return lowered(super().transform(*args, **kwargs))

    def to_backend(self, partitioner: Any) -> LoweredProgram:
        """As ``EdgeProgramManager.to_backend``."""
        return lowered(super().to_backend(partitioner))

    def to_executorch(self, config: ExecutorchBackendConfig | None = None) -> Any:
        """The program for ExecuTorch, see ``EdgeProgramManager.to_executorch``.

        Raises:
            LoweringError: ExecuTorch gives up on the program.
        """
        states = {name: host_states(program) for name, program in self._edge_programs.items()}
        for program in self._edge_programs.values():
            initialise_host_states(program)
        if any(states.values()) or len(states) > 1:  # delegates of several methods know each other by it
            self._named_data_store.add_named_data(STATES_KEY, json.dumps(states, sort_keys=True).encode())
        if any(states.values()) and len(states) > 1:
            config = _sharing(config or ExecutorchBackendConfig())
        # Without gradients: the passes run the program's writes into its buffers.
        with warnings.catch_warnings(), torch.no_grad():
            # That initial values are lost; they are not.
            warnings.filterwarnings("ignore", message="Mutation on a buffer in the model is detected")
            try:
                return super().to_executorch(config)
            except (GgmlError, OSError, MemoryError):
                raise
            except Exception as e:  # ExecuTorch's passes and its emitter raise errors of any type
                raise LoweringError(described(e)) from e


def lowered(manager: EdgeProgramManager) -> LoweredProgram:
    """The manager itself, which becomes a LoweredProgram."""
    manager.__class__ = LoweredProgram
    assert isinstance(manager, LoweredProgram)
    return manager


def _sharing(config: ExecutorchBackendConfig) -> ExecutorchBackendConfig:
    """ExecuTorch's own memory planning, with states in memory that methods have in common."""
    plan = config.memory_planning_pass
    if type(plan) is not MemoryPlanningPass or not plan.alloc_mutable_buffers:
        return config
    shared = MemoryPlanningPass(  # a new one: it collects the nodes that it has seen
        memory_planning_algo=plan.memory_planning_algo,
        allow_lifetime_and_storage_overlap=plan.allow_lifetime_and_storage_overlap,
        alloc_graph_input=plan.alloc_graph_input,
        alloc_graph_output=plan.alloc_graph_output,
        share_mutable_buffers=True,
        alignment=plan.alignment,
    )
    return replace(config, memory_planning_pass=shared)


def host_states(program: ExportedProgram) -> list[str]:
    """Names of the buffers that a lowered program changes itself, in the order of its inputs; empty ones have none."""
    mutated = {s.target for s in program.graph_signature.output_specs if s.kind is OutputKind.BUFFER_MUTATION}
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    return [
        str(s.target)
        for s in program.graph_signature.input_specs
        if s.kind is InputKind.BUFFER and s.target in mutated and values[s.arg.name].numel()
    ]


def torn_states(lowered: EdgeProgramManager, methods: Mapping[str, ExportedProgram]) -> frozenset[str]:
    """Names of the states that a delegate owns in one method and ExecuTorch in another.

    Args:
        lowered: the lowered methods.
        methods: the functional programs that were lowered.
    """
    on_host: set[str] = set()
    delegated: set[str] = set()
    for name, program in methods.items():
        here = set(host_states(lowered.exported_program(name)))
        on_host |= here
        delegated |= set(host_states(program)) - here
    return frozenset(on_host & delegated)


def delegates(program: ExportedProgram) -> dict[str, Any]:
    """The lowered modules of ours in a program, by attribute name, in graph order."""
    found: dict[str, Any] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "executorch_call_delegate":
            name = str(node.args[0].target)
            module = getattr(program.graph_module, name)
            if module.backend_id == GgmlBackend.__name__:
                found[name] = module
    return found


def differing_states(lowered: EdgeProgramManager) -> frozenset[str]:
    """Names of the states that are a KV cache in one method's delegates and an ordinary state in another's."""
    found: dict[str, set[tuple[Any, ...]]] = {}
    for method in lowered.methods:
        for module in delegates(lowered.exported_program(method)).values():
            graph = deserialize(module.processed_bytes)
            for state in graph.states or []:
                shape = tuple(int(d) for d in graph.shapes[state.shape].ne)
                found.setdefault(state.name.decode(), set()).add((state.kind, *shape))
    return frozenset(name for name, kinds in found.items() if len(kinds) > 1)


def initialise_host_states(program: ExportedProgram) -> None:
    """Has ExecuTorch write the values of the buffers that a lowered program changes itself; without data: zeros."""
    names = set(host_states(program))
    inputs = {s.arg.name: s.target for s in program.graph_signature.input_specs if s.target in names}
    for node in program.graph.nodes:
        if node.op != "placeholder" or node.name not in inputs:
            continue
        node.meta["et_init_buffer"] = True
        target = str(inputs[node.name])
        for holder in (program.state_dict, program.constants):
            data = holder.get(target)
            if isinstance(data, torch.Tensor):
                holder[target] = _stored(data)


def _stored(data: torch.Tensor) -> torch.Tensor:
    """Data as ExecuTorch writes it: on the CPU, in row-major order, in memory of its own."""
    if not has_data(data):
        return torch.zeros(data.shape, dtype=data.dtype)
    return data.detach().cpu().clone(memory_format=torch.contiguous_format)


__all__ = [
    "STATES_KEY",
    "LoweredProgram",
    "delegates",
    "differing_states",
    "host_states",
    "initialise_host_states",
    "lowered",
    "torn_states",
]
