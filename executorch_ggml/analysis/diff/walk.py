"""Runs an exported program on torch's own kernels, delegates included, and shows every result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node
from torch.fx.node import map_arg

from executorch_ggml.errors import UnsupportedError

Visit = Callable[[int, Node, Any, Sequence[Any]], None]
"""Called with the delegate's index (-1: outside), the node, its value and the values it was computed from."""

HOST = -1


class Walk:
    """Eager execution of a program before or after lowering.

    A delegate of ours is run as the graph that was lowered (its ``original_module``), on torch's kernels: nothing of
    ggml takes part. Mutable buffers start from their initial values in every call.

    Args:
        program: an ATen program, or ``EdgeProgramManager.exported_program(method)`` after lowering.
        visit: shown every call node's result, in order.
        delegates: index by attribute name, as the runtime counts them.
        weights: per delegate, parameters by name to use instead of the program's (those that the ``.pte`` holds
            quantised).
    """

    def __init__(
        self,
        program: ExportedProgram,
        visit: Visit,
        delegates: Mapping[str, int] | None = None,
        weights: Mapping[int, Mapping[str, torch.Tensor]] | None = None,
    ) -> None:
        self.program, self.visit = program, visit
        self.delegates, self.weights = delegates or {}, weights or {}

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        """User outputs for flat user inputs.

        Raises:
            UnsupportedError: the program holds delegates of other backends.
        """
        with torch.no_grad():
            return self._run(self.program, list(args), HOST)

    def _run(self, ep: ExportedProgram, args: list[Any], delegate: int) -> list[Any]:
        env: dict[Node, Any] = {}
        specs = {s.arg.name: s for s in ep.graph_signature.input_specs if hasattr(s.arg, "name")}
        for node in ep.graph.nodes:
            if node.op == "placeholder":
                env[node] = self._placeholder(ep, specs.get(node.name), args, delegate)
            elif node.op == "get_attr":
                env[node] = getattr(ep.graph_module, str(node.target))
            elif node.op == "call_function":
                env[node] = self._call(node, env)
                self.visit(delegate, node, env[node], [env[i] for i in node.all_input_nodes])
            elif node.op == "output":
                values = map_arg(node.args[0], lambda n: env[n])
                specs_out = ep.graph_signature.output_specs
                pairs = zip(specs_out, values, strict=True)
                return [v for spec, v in pairs if spec.kind is OutputKind.USER_OUTPUT]
        raise AssertionError("a graph without an output")

    def _placeholder(self, ep: ExportedProgram, spec: Any, args: list[Any], delegate: int) -> Any:
        if spec is None or spec.kind is InputKind.USER_INPUT:
            return args.pop(0)
        name = str(spec.target)
        override = self.weights.get(delegate, {}).get(name)
        if override is not None:
            return override
        tensor = ep.state_dict.get(name)
        tensor = tensor if tensor is not None else ep.constants[name]
        # Operators that work in place must not change the program.
        return tensor.clone() if spec.kind is InputKind.BUFFER else tensor

    def _call(self, node: Node, env: dict[Node, Any]) -> Any:
        args: Any = map_arg(node.args, lambda n: env[n])
        kwargs: Any = map_arg(node.kwargs, lambda n: env[n])
        if getattr(node.target, "__name__", "") == "executorch_call_delegate":
            module, name = args[0], str(node.args[0].target)  # type: ignore[union-attr]
            if name not in self.delegates:
                raise UnsupportedError(f"delegate {name} belongs to {module.backend_id}, which cannot be run in eager")
            return self._run(module.original_module, list(args[1:]), self.delegates[name])
        target: Any = node.target
        if not isinstance(target, torch._ops.OpOverload):
            target = getattr(target, "_op", target)
        return target(*args, **kwargs)


def largest(values: Sequence[Any]) -> float:
    """Largest finite absolute value among tensors (others are skipped)."""
    found = 0.0
    for value in values:
        parts = value if isinstance(value, (tuple, list)) else (value,)
        for part in parts:
            if isinstance(part, torch.Tensor) and part.numel() and part.dtype is not torch.bool:
                magnitude = part.detach().to(torch.float64).abs()
                finite = magnitude[torch.isfinite(magnitude)]
                found = max(found, float(finite.max())) if finite.numel() else found
    return found


def to_array(tensor: torch.Tensor) -> Any:
    """A numpy array with the tensor's elements in row-major order; bfloat16 as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.to(torch.float32) if tensor.dtype is torch.bfloat16 else tensor).contiguous().numpy()
