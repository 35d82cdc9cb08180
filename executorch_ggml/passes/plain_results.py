"""Results that torch names (`torch.return_types.max`) as the plain tuples that they are.

ExecuTorch writes the structure of the results into the `.pte`, and has no name for these types: a model that returns
`torch.max(x, 1)` as it is could not be written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree


def _plain(spec: pytree.TreeSpec) -> pytree.TreeSpec:
    if spec.is_leaf():
        return spec
    kind, context = spec.type, spec.context
    children = [_plain(spec.child(i)) for i in range(spec.num_children)]
    if getattr(kind, "__module__", "") == torch.return_types.__name__:
        kind, context = tuple, None
    return pytree.TreeSpec(kind, context, children)


def return_plain_results(ep: ExportedProgram) -> bool:
    """Changes the structure of the program's results, in place; True if a type was replaced."""
    graph: list[Any] = ep.module_call_graph
    signature = graph[0].signature if graph else None
    if signature is None or signature.out_spec is None:
        return False
    spec = _plain(signature.out_spec)
    if spec == signature.out_spec:
        return False
    ep._module_call_graph = [replace(graph[0], signature=replace(signature, out_spec=spec)), *graph[1:]]
    return True
