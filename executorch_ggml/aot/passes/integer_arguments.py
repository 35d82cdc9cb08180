"""Python numbers among the arguments that were exported as dynamic: refused.

ExecuTorch 1.5 writes such an argument as None: its runtime takes no number for it, and results computed from it have
no value. A number that the export fixed to its example is written as that number, and is fine.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from executorch_ggml.errors import UnsupportedError


def refuse_dynamic_numbers(ep: ExportedProgram) -> None:
    """Checks the arguments.

    Raises:
        UnsupportedError: one is a number without a fixed value; the text names it and the cure.
    """
    arguments = {s.arg.name for s in ep.graph_signature.input_specs if s.kind is InputKind.USER_INPUT}
    for node in ep.graph.nodes:
        if node.op != "placeholder" or node.name not in arguments:
            continue
        val = node.meta.get("val")
        if isinstance(val, (torch.SymInt, torch.SymFloat, torch.SymBool)) and node.users:
            raise UnsupportedError(
                f"input {node.name!r} is a Python number whose value was left open, which ExecuTorch writes as None; "
                "export the model with a tensor instead (of rank 0 for a factor, of that size for a length)"
            )
