"""Containers that a `.pte` cannot name, as the plain tuples that they are.

ExecuTorch writes the structure of arguments and results into the `.pte`. It has no name for some types: results that
torch names (`torch.return_types.max`), named tuples, containers that a model registers without a name. A model that
takes or returns one could not be written.
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
    plain = pytree.TreeSpec(kind, context, children)
    named = getattr(kind, "__module__", "") == torch.return_types.__name__
    if named or not _has_name(pytree.TreeSpec(kind, context, [pytree.treespec_leaf() for _ in children])):
        return pytree.TreeSpec(tuple, None, children)
    return plain


def _has_name(spec: pytree.TreeSpec) -> bool:
    try:
        pytree.treespec_dumps(spec)
    except (NotImplementedError, TypeError, ValueError):
        return False
    return True


def return_plain_results(ep: ExportedProgram) -> bool:
    """Changes the structure of the program's arguments and results, in place; True if a type was replaced."""
    graph: list[Any] = ep.module_call_graph
    signature = graph[0].signature if graph else None
    if signature is None:
        return False
    specs = {name: _plain(spec) for name in ("in_spec", "out_spec") if (spec := getattr(signature, name)) is not None}
    if all(spec == getattr(signature, name) for name, spec in specs.items()):
        return False
    ep._module_call_graph = [replace(graph[0], signature=replace(signature, **specs)), *graph[1:]]
    return True
