"""Buffers that several methods of one program share.

A buffer that one method changes is a state in every method that knows it. Which buffers are the same is decided by
their memory, as in eager mode; their names in the methods may differ. A method that only reads a state gets it as the
others do, because it writes it back unchanged: to torch it would be a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)

from executorch_ggml.errors import InvalidArgumentError

from .passes import make_functional
from .passes._graph import GraphEditor, aten
from .program_view import has_data


def agree_on_states(methods: Mapping[str, ExportedProgram], share: bool | None = None) -> dict[str, ExportedProgram]:
    """The programs with one name for each state, and with each state known as such to every method that has it.

    Args:
        methods: programs by method name; they are not changed.
        share: whether buffers of one name in different memory are one state (True) or a state for each method (False).

    Raises:
        InvalidArgumentError: buffers of one name lie in different memory, and ``share`` does not say how to treat them.
            Or they are shared and differ in size, type or value. Or a method changes a buffer that overlaps another
            one.
    """
    if len(methods) == 1 or not any(_changes_something(ep) for ep in methods.values()):
        return dict(methods)
    programs = {name: _of_its_own(make_functional(ep)) for name, ep in methods.items()}
    changed = {_key(ep, spec) for ep in programs.values() for spec in _buffers(ep) if spec.target in _mutated(ep)}
    changed_names = set().union(*(_mutated(ep) for ep in programs.values()))
    names: dict[object, str] = {}
    owners: dict[str, tuple[str, object, torch.Tensor]] = {}
    for method, ep in programs.items():
        for spec in _buffers(ep):
            key, target = _key(ep, spec), str(spec.target)
            if key in changed or target in changed_names:
                first = names.get(key)
                if first is None:
                    first = names[key] = _claim(target, method, key, _data(ep, target), owners, share)
                if first != target:
                    _rename(ep, target, first)
    states = set(names.values())
    for ep in programs.values():
        for spec in _buffers(ep):
            if spec.target in states and spec.target not in _mutated(ep):
                _write_back(ep, spec)
    return programs


def _changes_something(ep: ExportedProgram) -> bool:
    if _mutated(ep):
        return True
    return any(
        isinstance(n.target, torch._ops.OpOverload) and n.target._schema.is_mutable
        for n in ep.graph.nodes
        if n.op == "call_function"
    )


def _of_its_own(ep: ExportedProgram) -> ExportedProgram:
    """The program, which may be changed: its dictionaries are not those of the one it was made from."""
    ep._state_dict, ep._constants = dict(ep.state_dict), dict(ep.constants)
    return ep


def _mutated(ep: ExportedProgram) -> set[str]:
    return {str(s.target) for s in ep.graph_signature.output_specs if s.kind is OutputKind.BUFFER_MUTATION}


def _buffers(ep: ExportedProgram) -> list[InputSpec]:
    """Buffers that the method touches."""
    used = {n.name for n in ep.graph.nodes if n.op == "placeholder" and n.users}
    mutated = _mutated(ep)
    return [
        s
        for s in ep.graph_signature.input_specs
        if s.kind is InputKind.BUFFER and (s.arg.name in used or s.target in mutated)
    ]


def _data(ep: ExportedProgram, target: str) -> torch.Tensor:
    data = ep.state_dict.get(target, ep.constants.get(target))
    assert isinstance(data, torch.Tensor), target
    return data


def _key(ep: ExportedProgram, spec: InputSpec) -> object:
    """A key that is equal for two names of one buffer."""
    data = _data(ep, str(spec.target))
    if not has_data(data) or not data.numel():
        return spec.target  # nothing but the name is known of it
    where = (data.untyped_storage().data_ptr(), data.storage_offset())
    return (*where, tuple(data.shape), tuple(data.stride()), data.dtype)


def _claim(
    target: str,
    method: str,
    key: object,
    data: torch.Tensor,
    owners: dict[str, tuple[str, object, torch.Tensor]],
    share: bool | None,
) -> str:
    """The name of a state; the first state of a name keeps it."""
    other = owners.setdefault(target, (method, key, data))
    if other[1] == key:
        return target
    if share is None:
        raise InvalidArgumentError(
            f"methods '{other[0]}' and '{method}' have a buffer '{target}', which changes and is not one tensor; "
            "export them from one module, or say share_states=True (one state) or False (one for each)"
        )
    if not share:
        name = f"{method}:{target}"
        owners[name] = (method, key, data)
        return name
    same = other[2].shape == data.shape and other[2].dtype == data.dtype
    if same and has_data(data) and has_data(other[2]):
        same = torch.equal(other[2].detach().cpu(), data.detach().cpu()) or _bits_equal(other[2], data)
    if not same:
        raise InvalidArgumentError(
            f"methods '{other[0]}' and '{method}' cannot share the buffer '{target}': its shape, type or initial value "
            "is not the same in both"
        )
    return target


def _bits_equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """NaN equals itself here."""
    return torch.equal(torch.nan_to_num(a.detach().cpu()), torch.nan_to_num(b.detach().cpu()))


def _rename(ep: ExportedProgram, old: str, new: str) -> None:
    if any(s.target == new for s in ep.graph_signature.input_specs):
        raise InvalidArgumentError(
            f"the state '{new}' is called '{old}' in another method, which has a '{new}' of its own; rename one of them"
        )

    def renamed(specs: Any) -> list[Any]:
        return [replace(s, target=new) if s.target == old else s for s in specs]

    signature = ep.graph_signature
    ep._graph_signature = ExportGraphSignature(renamed(signature.input_specs), renamed(signature.output_specs))
    for holder in (ep._state_dict, ep._constants):
        if old in holder:
            holder[new] = holder.pop(old)


def _write_back(ep: ExportedProgram, spec: InputSpec) -> None:
    """Makes a buffer that the method only reads one that it changes, to the value that it has."""
    editor = GraphEditor(ep)
    output = next(n for n in ep.graph.nodes if n.op == "output")
    placeholder = next(n for n in ep.graph.nodes if n.op == "placeholder" and n.name == spec.arg.name)
    copy = editor.call(output, aten.clone.default, placeholder, memory_format=torch.contiguous_format)
    results: list[Any] = list(output.args[0])
    output.args = ((copy, *results),)
    signature = ep.graph_signature
    new = OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(name=copy.name), spec.target)
    ep._graph_signature = ExportGraphSignature(list(signature.input_specs), [new, *signature.output_specs])
    editor.finish()
