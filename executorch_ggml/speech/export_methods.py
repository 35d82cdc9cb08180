"""Several methods of one model to one `.pte`, each in one delegate, with the facts that a runner needs.

The runner's facts travel as constant methods: `speech_config` (JSON) and `speech_vocabulary` (the pieces of text that
token ids stand for), both uint8 tensors, which any ExecuTorch host can read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from executorch_ggml.aot.export_lock import EXPORTING
from executorch_ggml.aot.partitioner import GgmlPartitioner
from executorch_ggml.aot.passes.sizes_of_inputs import ask_inputs_for_sizes
from executorch_ggml.aot.quantization import GgmlQuantConfig
from executorch_ggml.aot.quiet import quiet, undisturbed
from executorch_ggml.aot.trace import traced
from executorch_ggml.errors import UnsupportedError
from executorch_ggml.errors.files import check_target, write_atomically

from .vocabulary import encode_json, encode_pieces

__all__ = ["Method", "SpeechExport", "export_methods"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """A method to be: a module, example inputs, and the dynamic dimensions of each input."""

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]
    dynamic: tuple[dict[int, Any], ...]


@dataclass(frozen=True)
class SpeechExport:
    """The result of an export. nodes: operators in the delegate of each method; outside: those left to ExecuTorch."""

    path: Path
    bytes: int
    nodes: Mapping[str, int]
    outside: Mapping[str, Sequence[str]]


class _Part(nn.Module):
    """A submodule under the name it has in its model, so that its weights keep their full names in every method."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        setattr(self, name, module)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return getattr(self, self.name)(*inputs)


def part(model: nn.Module, name: str) -> nn.Module:
    """The module of a method that is one child of the model."""
    return _Part(name, getattr(model, name)).eval()


def export_methods(
    methods: Mapping[str, Method],
    path: str | os.PathLike[str],
    *,
    config: Mapping[str, Any],
    vocabulary: Sequence[bytes],
    quant: GgmlQuantConfig | None = None,
    weight_alternatives: Mapping[str, Sequence[str]] | None = None,
) -> SpeechExport:
    """Lowers the methods and writes the `.pte`, complete or not at all.

    Parameters with data are stored in it (quantised as `quant` says), parameters on the meta device by name only.
    Methods share both weights and states (mutable buffers) by their names.

    Raises UnsupportedError when a method does not become one delegate, or when more than integer bookkeeping is left
    outside of it; the message names them.
    """
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower

    target = Path(path)
    check_target(target)
    with EXPORTING, quiet(), undisturbed(), torch.no_grad():
        programs = {}
        for name, method in methods.items():
            logger.info("exporting %s", name)
            programs[name] = traced(method.module, _where_weights_are(method), {}, _dynamic(method), name)
        partitioners = {
            name: [GgmlPartitioner(quant=quant, weight_alternatives=weight_alternatives)] for name in methods
        }
        logger.info("lowering")
        edge = to_edge_transform_and_lower(
            programs,
            transform_passes=[ask_inputs_for_sizes],
            partitioner=partitioners,
            constant_methods={
                "speech_config": _bytes(encode_json(config)),
                "speech_vocabulary": _bytes(encode_pieces(vocabulary)),
            },
            compile_config=EdgeCompileConfig(_skip_dim_order=True, _check_ir_validity=False),
        )
        del programs
        found = {name: _delegate(name, edge.exported_program(name)) for name in methods}
        executorch = edge.to_executorch(ExecutorchBackendConfig())
        write_atomically(target, executorch.write_to_file)
    size = target.stat().st_size
    logger.info("%s: %d bytes", target, size)
    return SpeechExport(target, size, {n: f[0] for n, f in found.items()}, {n: f[1] for n, f in found.items()})


def _where_weights_are(method: Method) -> tuple[torch.Tensor, ...]:
    """The inputs on the device of the module: meta for one without data."""
    first = next(method.module.parameters(), next(method.module.buffers(), None))
    return method.inputs if first is None else tuple(x.to(first.device) for x in method.inputs)


def _dynamic(method: Method) -> Any:
    if not any(method.dynamic):
        return None
    star = any(p.kind is p.VAR_POSITIONAL for p in _parameters(method.module))
    return (method.dynamic,) if star else method.dynamic


def _parameters(module: nn.Module) -> Sequence[Any]:
    import inspect

    return list(inspect.signature(module.forward).parameters.values())


def _bytes(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _delegate(name: str, program: Any) -> tuple[int, list[str]]:
    """Number of operators in the one delegate of a method, and the operators outside."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    delegates = [node for node in calls if "executorch_call_delegate" in str(node.target)]
    # Sizes are read by the runtime itself.
    free = ("getitem", "sym_size")
    others = [n for n in calls if n not in delegates and not any(word in str(n.target) for word in free)]
    floating = [n for n in others if _is_float(n)]
    if len(delegates) != 1 or floating:
        left = ", ".join(sorted({str(node.target) for node in others})) or "nothing"
        raise UnsupportedError(
            f"method {name!r} did not become one delegate but {len(delegates)}; left outside: {left}. "
            "executorch_ggml.explain says why each operator was refused"
        )
    lowered = getattr(program.graph_module, delegates[0].args[0].target)
    inner = lowered.original_module.graph_module.graph.nodes
    return sum(node.op == "call_function" for node in inner), sorted({str(node.target) for node in others})


def _is_float(node: Any) -> bool:
    value = node.meta.get("val")
    values = value if isinstance(value, (tuple, list)) else (value,)
    return any(isinstance(v, torch.Tensor) and v.dtype.is_floating_point for v in values)
