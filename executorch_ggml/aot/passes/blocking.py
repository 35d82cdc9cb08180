"""Copies that wait: `x.to(device, non_blocking=True)` and the like without that request.

There is one device. ExecuTorch's kernels refuse the request, in every call.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

_NAME = "non_blocking"


def wait_for_copies(ep: ExportedProgram) -> bool:
    """Clears the request, in place; True if there was one."""
    changed = []
    for module in (m for m in ep.graph_module.modules() if isinstance(m, GraphModule)):
        for node in module.graph.nodes:
            if not isinstance(node.target, torch._ops.OpOverload):
                continue
            names = [a.name for a in node.target._schema.arguments]
            if _NAME not in names:
                continue
            place = names.index(_NAME)
            if place < len(node.args) and node.args[place]:
                node.update_arg(place, False)
            elif node.kwargs.get(_NAME):
                node.update_kwarg(_NAME, False)
            else:
                continue
            changed.append(module)
    for module in changed:
        module.recompile()
    return bool(changed)
