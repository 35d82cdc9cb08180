"""The `.pte` of lowered programs that are still needed afterwards."""

from __future__ import annotations

import copy
from typing import Any

from torch.export import ExportedProgram


def emit(edge: Any) -> bytes:
    """The ``.pte``, made from a copy that shares the weights: ``to_executorch`` changes its object."""
    memo: dict[int, Any] = {}
    for method in edge.methods:
        program = edge.exported_program(method)
        for part in (program, *_originals(program)):
            for tensor in (*part.state_dict.values(), *part.constants.values()):
                memo[id(tensor)] = tensor
    return bytes(copy.deepcopy(edge, memo).to_executorch().buffer)


def _originals(program: ExportedProgram) -> list[ExportedProgram]:
    """The programs from which the delegates of a program were made."""
    modules = (getattr(m, "original_module", None) for _, m in program.graph_module.named_modules())
    return [m for m in modules if isinstance(m, ExportedProgram)]
