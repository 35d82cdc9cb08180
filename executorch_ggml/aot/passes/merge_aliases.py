"""One input for one tensor.

A tensor may be a registered buffer and also an attribute of another object; Hugging Face's static cache holds its keys
so. Exported with ``strict=False`` it becomes two inputs: the buffer, and a lifted constant that the graph mutates.
torch cannot make such a graph functional. Here the constant's readers and writers get the buffer. So do those of a
buffer that is the memory of another one under another name.
"""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind, TensorArgument

from ._graph import copy_of


def _identity(data: object) -> object | None:
    """A key that is equal for two names of one tensor; None for tensors without memory."""
    if not isinstance(data, torch.Tensor) or isinstance(data, FakeTensor) or data.is_meta or not data.numel():
        return None
    where = (data.untyped_storage().data_ptr(), data.storage_offset())
    return (*where, tuple(data.shape), tuple(data.stride()), data.dtype)


def merge_aliased_inputs(ep: ExportedProgram) -> ExportedProgram:
    """The program with constants and buffers that are other buffers (or constants) replaced by those.

    Returns `ep` itself if there are none; it is never changed.
    """
    signature = ep.graph_signature
    if any(spec.kind is OutputKind.BUFFER_MUTATION for spec in signature.output_specs):
        return ep  # functional: too late
    kept: dict[object, str] = {}
    merged: dict[str, str] = {}
    ranked = sorted(signature.input_specs, key=lambda s: s.kind is InputKind.CONSTANT_TENSOR)  # stable: buffers first
    for spec in ranked:
        if spec.kind not in (InputKind.BUFFER, InputKind.CONSTANT_TENSOR) or spec.target is None:
            continue
        data = ep.state_dict.get(spec.target, ep.constants.get(spec.target))
        identity = _identity(data)
        if identity is None or not isinstance(spec.arg, TensorArgument):
            continue
        first = kept.setdefault(identity, spec.arg.name)
        if first != spec.arg.name:
            merged[spec.arg.name] = first
    if not merged:
        return ep
    graph = copy_of(ep.graph)
    by_name = {node.name: node for node in graph.nodes}
    for name, first in merged.items():
        by_name[name].replace_all_uses_with(by_name[first])
        graph.erase_node(by_name[name])
    specs = [s for s in signature.input_specs if getattr(s.arg, "name", None) not in merged]
    updated: ExportedProgram = ep._update(
        torch.fx.GraphModule(ep.graph_module, graph), ExportGraphSignature(specs, list(signature.output_specs))
    )
    return updated
