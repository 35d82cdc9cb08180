"""Integer and boolean buffers become constants of the program.

A partitioner sees a copy of the program without data in its state dict. Only the data of the program's constants can be
read. Positions, tables of indices and masks decide by their values whether they can be delegated: row indices must lie
inside their table. A checkpoint never replaces them. So a persistent buffer is treated like one that is not persistent.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind, InputSpec

from ._graph import GraphEditor


def keep_integers_visible(ep: ExportedProgram) -> bool:
    """Turns persistent buffers of integers or booleans that nobody mutates into non-persistent ones, in place.

    The program gets dictionaries of its own: those it came with may be the caller's. True if there was such a buffer.
    """
    editor = GraphEditor(ep)
    by_name = {node.name: node for node in ep.graph.nodes if node.op == "placeholder"}
    specs: list[InputSpec] = []
    moved: dict[str, torch.Tensor] = {}
    for spec in ep.graph_signature.input_specs:
        if spec.kind is InputKind.BUFFER and spec.persistent and spec.target is not None:
            data = editor.constant(by_name.get(spec.arg.name))
            if data is not None and not data.dtype.is_floating_point and not data.dtype.is_complex:
                moved[spec.target] = data
                spec = replace(spec, persistent=False)
        specs.append(spec)
    if not moved:
        return False
    ep._graph_signature = ExportGraphSignature(specs, list(ep.graph_signature.output_specs))
    ep._state_dict = {k: v for k, v in ep.state_dict.items() if k not in moved}
    ep._constants = {**ep.constants, **moved}
    return True
