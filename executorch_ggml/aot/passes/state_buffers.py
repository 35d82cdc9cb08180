"""Mutable buffers as ExecuTorch and the backend keep them: buffers, in row-major order, in memory of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind
from torch.fx import Node
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from executorch_ggml.errors import InvalidArgumentError

from ._graph import GraphEditor
from .new_buffer_values import memory_of


def refuse_overlaps(ep: ExportedProgram) -> None:
    """Refuses a program, as torch exports it, that changes a buffer if its memory is also part of another one.

    Raises:
        InvalidArgumentError: there is such a buffer; to torch the two have nothing to do with each other.
    """
    changed = {n.name for n in _written(ep)}
    spans: list[tuple[str, str, int, int, int]] = []
    used = {n.name for n in ep.graph.nodes if n.op == "placeholder" and n.users}
    for spec in ep.graph_signature.input_specs:
        data = ep.state_dict.get(spec.target, ep.constants.get(spec.target)) if spec.target is not None else None
        # A quantised parameter wraps others: it has no memory of its own, and nothing changes it.
        wraps = bool(is_traceable_wrapper_subclass(data))
        if wraps or spec.arg.name not in used or not isinstance(data, torch.Tensor):
            continue
        if data.is_meta or not data.numel():
            continue
        last = sum((int(n) - 1) * int(s) for n, s in zip(data.shape, data.stride(), strict=True))
        start = int(data.storage_offset()) * data.element_size()
        storage = data.untyped_storage().data_ptr()
        spans.append((spec.arg.name, str(spec.target), storage, start, start + (last + 1) * data.element_size()))
    for name, target, storage, start, end in spans:
        for other, its_target, its_storage, its_start, its_end in spans:
            apart = other == name or its_storage != storage or its_end <= start or end <= its_start
            if name in changed and not apart:
                raise InvalidArgumentError(
                    f"the buffer '{target}' is changed and shares memory with '{its_target}'; to torch.export they are "
                    "two tensors. Register one of them and take views of it in forward"
                )


def _written(ep: ExportedProgram) -> list[Node]:
    found = []
    for node in ep.graph.nodes:
        schema = getattr(node.target, "_schema", None) if node.op == "call_function" else None
        if schema is None or not schema.is_mutable:
            continue
        for argument, given in zip(schema.arguments, node.args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write and isinstance(given, Node):
                found.append(memory_of(given))
    return found


def settle_state_buffers(ep: ExportedProgram) -> bool:
    """Makes changed parameters buffers, and stores changed buffers in row-major order.

    It changes a functional program in place, which gets dictionaries of its own: those it came with may be the
    caller's. True if something was changed.
    """
    signature = ep.graph_signature
    kinds = (OutputKind.BUFFER_MUTATION, OutputKind.PARAMETER_MUTATION)
    changed = {str(s.target) for s in signature.output_specs if s.kind in kinds}
    if not changed:
        return False
    editor = GraphEditor(ep)
    nodes = {n.name: n for n in ep.graph.nodes if n.op == "placeholder"}
    ep._state_dict, ep._constants = dict(ep.state_dict), dict(ep.constants)
    inputs: list[Any] = []
    done = False
    for spec in signature.input_specs:
        if spec.target in changed and spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            holder = ep._state_dict if spec.target in ep._state_dict else ep._constants
            data = holder.get(spec.target)
            if spec.kind is InputKind.PARAMETER:
                spec, done = replace(spec, kind=InputKind.BUFFER, persistent=True), True
                if isinstance(data, torch.Tensor):
                    holder[str(spec.target)] = data = data.detach()
            if isinstance(data, torch.Tensor) and not data.is_contiguous():
                data = holder[str(spec.target)] = data.detach().clone(memory_format=torch.contiguous_format)
                nodes[spec.arg.name].meta["val"] = editor._fake(data)
                done = True
        inputs.append(spec)
    outputs = [
        replace(s, kind=OutputKind.BUFFER_MUTATION) if s.kind is OutputKind.PARAMETER_MUTATION else s
        for s in signature.output_specs
    ]
    ep._graph_signature = ExportGraphSignature(inputs, outputs)
    return done
