"""Runs a lowered program without native code: delegates on the numpy interpreter, host operators on eager torch.

For tests and for telling a wrong lowering from a wrong kernel: a wrong value here is wrong ahead of time.
Only block-quantised weights need the library: they are decoded by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from executorch_ggml.aot.lowered_program import delegates
from executorch_ggml.ir.interpret import Interpreter
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.runtime import types

__all__ = ["ReferenceExecutor", "decode", "decoded", "delegates", "flatten_results", "named_data"]

_TORCH = {
    GgmlType.F32: torch.float32,
    GgmlType.F16: torch.float16,
    GgmlType.BF16: torch.bfloat16,
    GgmlType.I32: torch.int32,
    GgmlType.I64: torch.int64,
}


def named_data(module: Any) -> dict[str, bytes]:
    """Data that a lowered module put into the ``.pte``, by key."""
    output = module.named_data_store_output
    if output is None:
        return {}
    return {key: bytes(output.buffers[entry.buffer_index]) for key, entry in output.pte_data.items()}


class ReferenceExecutor:
    """Executes an edge program that contains delegates of ours; mutable buffers persist between calls.

    Args:
        program: ``EdgeProgramManager.exported_program(method)`` after lowering.
        weights: data by key for weights that are not in the program (float arrays in torch layout).
        compute: float type of the interpreter.
    """

    def __init__(
        self, program: ExportedProgram, weights: Mapping[str, Any] | None = None, compute: Any = np.float64
    ) -> None:
        self.program = program
        self.interpreters: dict[str, Interpreter] = {}
        for name, module in delegates(program).items():
            data = dict(weights or {})
            data.update(decoded(module))
            self.interpreters[name] = Interpreter(module.processed_bytes, data, compute)
        self.buffers: dict[str, torch.Tensor] = {}

    def __call__(self, *args: Any) -> list[torch.Tensor]:
        """User outputs for user inputs."""
        ep = self.program
        env: dict[Any, Any] = {}
        arguments = list(args)
        specs = {s.arg.name: s for s in ep.graph_signature.input_specs}
        results: list[torch.Tensor] = []
        for node in ep.graph.nodes:
            if node.op == "placeholder":
                env[node] = self._placeholder(specs[node.name], arguments)
            elif node.op == "get_attr":
                env[node] = str(node.target)
            elif node.op == "call_function":
                env[node] = self._call(node, env)
            elif node.op == "output":
                values = torch.fx.node.map_arg(node.args[0], lambda n: env[n])
                for spec, value in zip(ep.graph_signature.output_specs, values, strict=True):
                    if spec.kind is OutputKind.BUFFER_MUTATION:
                        self.buffers[str(spec.target)] = value.clone()
                    elif spec.kind is OutputKind.USER_OUTPUT:
                        results.append(value)
        return results

    def _placeholder(self, spec: Any, arguments: list[Any]) -> Any:
        if spec.kind is InputKind.USER_INPUT:
            return arguments.pop(0)
        name = spec.target
        if name in self.buffers:
            return self.buffers[name]
        tensor = self.program.state_dict.get(name)
        return tensor if tensor is not None else self.program.constants[name]

    def _call(self, node: Any, env: dict[Any, Any]) -> Any:
        args = torch.fx.node.map_arg(node.args, lambda n: env[n])
        kwargs = torch.fx.node.map_arg(node.kwargs, lambda n: env[n])
        if getattr(node.target, "__name__", "") != "executorch_call_delegate":
            target = getattr(node.target, "_op", node.target)
            return target(*args, **kwargs)
        interpreter = self.interpreters[args[0]]
        inputs = [_to_numpy(a) for a in args[1:]]
        outputs = interpreter.run(inputs)
        declared = node.meta["val"]
        if not isinstance(declared, (tuple, list)):
            declared = [declared]
        # ExecuTorch leaves the results that became states in the metadata, in front of those that are returned.
        declared = declared[len(declared) - len(outputs) :]
        return [torch.from_numpy(np.array(o)).to(d.dtype) for o, d in zip(outputs, declared, strict=True)]


def _to_numpy(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach()
    return value.to(torch.float32).numpy() if value.dtype is torch.bfloat16 else value.numpy()


def decoded(module: Any) -> dict[str, Any]:
    """Named data of a lowered module as arrays, see ``decode``."""
    return decode(named_data(module), deserialize(module.processed_bytes))


def decode(raw: Mapping[str, bytes], graph: Any) -> dict[str, Any]:
    """Data that a payload's slots read, as arrays typed by them: floats and block types as float32, flat."""
    types: dict[str, int] = {}
    for slot in graph.weights or []:
        for part in slot.parts:
            for key in part.keys:
                types[_text(key)] = int(slot.type)
    for state in graph.states or []:
        if state.initial:
            types[_text(state.initial)] = 0
    return {key: _array(raw[key], kind) for key, kind in types.items() if key in raw}


def _array(data: bytes, ggml_type: int) -> Any:
    if ggml_type not in _TORCH:
        kind = types.ggml_type(ggml_type)
        elements = len(data) // kind.type_size * kind.block_size
        return types.dequantize(np.frombuffer(data, np.uint8), kind, (elements,))
    tensor = torch.frombuffer(bytearray(data), dtype=_TORCH[GgmlType(ggml_type)])
    return tensor.to(torch.float32).numpy() if tensor.dtype.is_floating_point else tensor.numpy()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def flatten_results(result: Any) -> list[torch.Tensor]:
    """A model's result as a flat list of tensors."""
    if isinstance(result, torch.Tensor):
        return [result]
    if isinstance(result, Sequence):
        return [t for part in result for t in flatten_results(part)]
    raise TypeError(f"a result of type {type(result).__name__}")
