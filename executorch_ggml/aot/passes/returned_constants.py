"""Constants that a program returns, as copies.

A delegate owns the parameters and buffers that it reads; ExecuTorch then has none to return, and lowering ends with an
error about tags. A copy is an operation like any other: the side that runs it has the data.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from ._graph import GraphEditor, aten
from .new_buffer_values import memory_of

_CONSTANTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def copy_returned_constants(ep: ExportedProgram) -> bool:
    """Put a copy between each constant and the program's results, in place; True if a constant was returned."""
    editor = GraphEditor(ep)
    kinds = {spec.arg.name: spec.kind for spec in ep.graph_signature.input_specs if hasattr(spec.arg, "name")}
    output = next(n for n in ep.graph.nodes if n.op == "output")
    results: tuple[object, ...] = output.args[0]
    copies: dict[Node, Node] = {}
    changed = list(results)
    for index, (spec, result) in enumerate(zip(ep.graph_signature.output_specs, results, strict=True)):
        if spec.kind is not OutputKind.USER_OUTPUT or not isinstance(result, Node):
            continue
        # Of a view, too: one that shows all of a constant is the constant itself in the end.
        memory = memory_of(result)
        if memory.op != "placeholder" or kinds.get(memory.name) not in _CONSTANTS or editor.is_mutated_buffer(memory):
            continue
        if result not in copies:
            copies[result] = editor.call(output, aten.clone.default, result, memory_format=torch.contiguous_format)
        changed[index] = copies[result]
    if not copies:
        return False
    output.args = (tuple(changed),)
    return editor.finish()
