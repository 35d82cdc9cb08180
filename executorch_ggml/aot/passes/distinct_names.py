"""Arguments of an edge program under names of their own.

ExecuTorch finds the target of a buffer's new value by one name for both arguments and buffers. A buffer `h` beside an
argument `h` is never written; the argument's memory is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, OutputKind, TensorArgument


def name_arguments_apart(ep: ExportedProgram) -> bool:
    """Renames, in place, arguments that are called like a parameter or buffer; True if there was one."""
    signature = ep.graph_signature
    taken = {s.target for s in signature.input_specs if s.target is not None}
    twice = {
        s.arg.name
        for s in signature.input_specs
        if s.kind is InputKind.USER_INPUT and isinstance(s.arg, TensorArgument) and s.arg.name in taken
    }
    if not twice:
        return False
    nodes = {n.name: n for n in ep.graph.nodes if n.op == "placeholder" and n.name in twice}
    new: dict[str, str] = {}
    for name, node in nodes.items():
        candidate = f"{name}_argument"
        while candidate in taken or any(n.name == candidate for n in ep.graph.nodes):
            candidate += "_"
        node._rename(candidate)
        node.target = node.name
        new[name] = node.name
        taken.add(node.name)

    def renamed(spec: Any) -> Any:
        if isinstance(spec.arg, TensorArgument) and spec.arg.name in new and getattr(spec, "kind", None) in _NAMED:
            spec = replace(spec, arg=replace(spec.arg, name=new[spec.arg.name]))
        if spec.kind is OutputKind.USER_INPUT_MUTATION and spec.target in new:
            spec = replace(spec, target=new[spec.target])
        return spec

    ep._graph_signature = ExportGraphSignature(
        [renamed(s) for s in signature.input_specs], [renamed(s) for s in signature.output_specs]
    )
    ep.graph.lint()
    ep.graph_module.recompile()
    return True


_NAMED = (InputKind.USER_INPUT, *OutputKind)
