"""Any module with the weights of any GGUF: ``export_with_gguf``."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from executorch_ggml.aot.export_lock import EXPORTING
from executorch_ggml.aot.lower import lower
from executorch_ggml.aot.partitioner import GgmlPartitioner
from executorch_ggml.aot.quiet import quiet, undisturbed
from executorch_ggml.aot.trace import traced
from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.errors.files import check_target, write_atomically
from executorch_ggml.gguf.header import read_header
from executorch_ggml.ir.serialize import deserialize
from executorch_ggml.ir.types import GgmlType

from .facts import Stated, check, read_facts, stated
from .made import made_of_file
from .names import Binding, Names, bind

__all__ = ["BoundExport", "bound_partitioner", "export_with_gguf"]


@dataclass(frozen=True)
class BoundExport:
    """The result of an export.

    Attributes:
        path: the ``.pte``.
        bytes: its size.
        seconds: wall time of the export.
        delegates: graphs that ggml runs; 1 if it runs everything.
        nodes: their nodes, together.
        binding: the tensor of each parameter; the module's own; tensors of the file that nothing takes.
        checked: facts of the graph that were held against the file, see ``expect``.
    """

    path: Path
    bytes: int
    seconds: float
    delegates: int
    nodes: int
    binding: Binding
    checked: Mapping[str, str]


def export_with_gguf(
    module: torch.nn.Module,
    example_inputs: Sequence[Any],
    gguf: str | os.PathLike[str],
    pte: str | os.PathLike[str],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    names: Names = "gguf",
    own: Collection[str] = (),
    expect: str | Mapping[str, float | None] | None = "auto",
    strict: bool = False,
    dequantize: bool = False,
    constant_methods: Mapping[str, Any] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> BoundExport:
    """Writes the graph of any module as a ``.pte`` that takes its weights from a GGUF when it is loaded.

    The names and shapes of all parameters are checked against the file before anything is traced. Of the file only the
    header is read. Buffers, constants and parameters of the module's own are stored in the ``.pte``. Parameters may be
    on the meta device; a state that lies there begins with zeros. The module is not changed.

    Args:
        module: any ``nn.Module`` that ``torch.export`` takes.
        example_inputs: as in ``torch.export.export``.
        gguf: the file that the graph is made for. It runs with every quantisation of the same model.
        pte: the file to write.
        example_kwargs, dynamic_shapes: as in ``torch.export.export``.
        names: of the parameters in the file: ``"gguf"`` (the same), ``"hf"`` (as Hugging Face's module of that
            architecture), a mapping, or a function, see ``llm.bind.names.bind``.
        own: patterns of names (``["*.lora_*"]``) of parameters that keep the module's data.
        expect: ``"auto"`` holds numbers that the graph computes with against the metadata: RoPE, epsilons, heads, the
            scale of attention. Another file must state the same metadata. A mapping does the same with exceptions: by
            fact, the number that is right, or None for any. None compares nothing.
        strict: refuse a module of which an operator that costs time would stay with ExecuTorch.
        dequantize: convert the file's matrices to float32 once, when they are loaded.
        constant_methods: as in ``to_edge_transform_and_lower``.
        on_stage: called with a word or two when a stage begins.

    Raises:
        BindError: parameters without a tensor in the file, or of another shape.
        MismatchError: the graph computes with other numbers than the file states.
        InvalidArgumentError: an argument of no such kind; a module that torch.export refuses; data missing on the meta
            device; ``pte`` is the GGUF.
        FileError, FormatError: a file that cannot be read or written.
        LoweringError, UnsupportedError, UndelegatedError, UnloadableError: as ``to_edge_rewrite_and_lower``.
    """
    start = time.monotonic()
    stage = on_stage or (lambda name: None)
    stage("comparing names")
    if not (expect is None or expect == "auto" or isinstance(expect, Mapping)):
        raise InvalidArgumentError(f"expect must be 'auto', None or a mapping, not {expect!r:.60}")
    header = read_header(gguf)
    target = Path(pte)
    check_target(target, header.paths)
    binding = bind(module, header, names, own)
    said = stated(header) if expect is not None else Stated({}, {})
    with EXPORTING, quiet(), undisturbed(), torch.no_grad():
        with on_cpu(module) as empty, made_of_file(module, binding, header) as (whole, keys, prefix):
            stage("tracing")
            args, kwargs = _on_cpu(tuple(example_inputs)), _on_cpu(dict(example_kwargs or {}))
            program = traced(whole, args, kwargs, dynamic_shapes, type(module).__name__)
        _require_data(program, {prefix + name for name in empty})
        stage("lowering")
        edge = lower(
            {"forward": program},
            partitioner=[_partitioner(keys, said, strict=strict, dequantize=dequantize)],
            constant_methods=constant_methods,
        )
        payloads = list(_payloads(edge))
        checked = check(read_facts(payloads), said, str(header.path), expect if isinstance(expect, Mapping) else None)
        buffer = bytes(edge.to_executorch().buffer)
    stage("writing")
    write_atomically(target, lambda file: file.write(buffer), header.paths)
    return BoundExport(target, len(buffer), time.monotonic() - start, len(payloads), _nodes(payloads), binding, checked)


def bound_partitioner(
    module: torch.nn.Module, gguf: str | os.PathLike[str], *, names: Names = "gguf", own: Collection[str] = ()
) -> tuple[GgmlPartitioner, frozenset[str]]:
    """The partitioner that leaves a module's parameters to a file, and ggml's names of their types there.

    Raises the errors of `bind`.
    """
    header = read_header(gguf)
    binding = bind(module, header, names, own)
    used = header.tensors.keys() - set(binding.unused)
    known = {int(kind): kind.name for kind in GgmlType}
    types = frozenset(known.get(header.tensors[key].type, str(header.tensors[key].type)) for key in used)
    keys = {name: keys for name, keys in binding.keys.items() if name not in binding.made}  # made: in the module's data
    return _partitioner(keys, Stated({}, {})), types


def _partitioner(
    keys: Mapping[str, tuple[str, ...]], said: Stated, *, strict: bool = False, dequantize: bool = False
) -> GgmlPartitioner:
    return GgmlPartitioner(
        external=keys.keys(),
        weight_alternatives=keys,
        expectations=said.metadata,
        strict=strict,
        dequantize=dequantize,
    )


@contextlib.contextmanager
def on_cpu(module: torch.nn.Module) -> Iterator[frozenset[str]]:
    """Gives tensors on the meta device memory on the CPU, for as long as a module is traced.

    Tracing needs one device. The memory of parameters is never touched, so the system does not provide it. Buffers
    become zeros.

    Yields:
        Names of the buffers that had no data.
    """
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    memory: dict[int, torch.nn.Parameter] = {}
    empty = frozenset(name for name, buffer in module.named_buffers() if buffer.device.type == "meta")
    try:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None and parameter.device.type == "meta":
                    if id(parameter) not in memory:
                        data = torch.empty_like(parameter, device="cpu")
                        memory[id(parameter)] = torch.nn.Parameter(data, requires_grad=False)
                    replaced.append((part._parameters, name, parameter))
                    part._parameters[name] = memory[id(parameter)]
            for name, buffer in part._buffers.items():
                if buffer is not None and buffer.device.type == "meta":
                    replaced.append((part._buffers, name, buffer))
                    part._buffers[name] = torch.zeros_like(buffer, device="cpu")
        yield empty
    finally:
        for place, name, value in reversed(replaced):
            place[name] = value


def _require_data(program: torch.export.ExportedProgram, empty: Collection[str]) -> None:
    """A state without data begins with zeros; a table of numbers without data is a mistake."""
    buffers = program.graph_signature.inputs_to_buffers
    wrong = sorted(
        {buffers[n.name] for n in program.graph.nodes if buffers.get(n.name) in empty and n.users and not _changed(n)}
    )
    if wrong:
        raise InvalidArgumentError(
            f"{', '.join(wrong[:8])}: a buffer on the meta device has no data; make the module on the CPU, or give it "
            "its values"
        )


def _changed(buffer: torch.fx.Node) -> bool:
    """Whether an operator writes into a buffer or into a view of it."""
    todo, seen = [buffer], {buffer}
    while todo:
        current = todo.pop()
        for user in current.users:
            schema = getattr(user.target, "_schema", None)
            if schema is None:
                continue
            for argument, given in zip(schema.arguments, user.args, strict=False):
                if argument.alias_info is not None and given is current:
                    if argument.alias_info.is_write:
                        return True
                    if user not in seen:
                        seen.add(user)
                        todo.append(user)
    return False


def _on_cpu(values: Any) -> Any:
    return torch.utils._pytree.tree_map_only(
        torch.Tensor, lambda t: torch.zeros_like(t, device="cpu") if t.device.type == "meta" else t, values
    )


def _payloads(edge: Any) -> Iterator[bytes]:
    graph_module = edge.exported_program().graph_module
    for node in graph_module.graph.nodes:
        if node.op == "call_function" and "executorch_call_delegate" in str(node.target):
            yield bytes(getattr(graph_module, node.args[0].target).processed_bytes)


def _nodes(payloads: Sequence[bytes]) -> int:
    return sum(len(deserialize(payload).nodes or ()) for payload in payloads)
