"""Containers that a `.pte` cannot name, as plain ones: named tuples as dictionaries of their fields, others as tuples.

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


def _plain(spec: pytree.TreeSpec, results: bool) -> pytree.TreeSpec:
    if spec.is_leaf():
        return spec
    kind, context = spec.type, spec.context
    children = [_plain(spec.child(i), results) for i in range(spec.num_children)]
    plain = pytree.TreeSpec(kind, context, children)
    named = getattr(kind, "__module__", "") == torch.return_types.__name__
    if named or not _has_name(pytree.TreeSpec(kind, context, [pytree.treespec_leaf() for _ in children])):
        fields = _fields(kind, context, len(children)) if results else []
        return pytree.TreeSpec(dict, fields, children) if fields else pytree.TreeSpec(tuple, None, children)
    return plain


def _fields(kind: Any, context: Any, count: int) -> list[str]:
    """The names of a named tuple's parts, and of those of torch; nothing of other types."""
    named = context if isinstance(context, type) and issubclass(context, tuple) else kind
    fields = getattr(named, "_fields", None) or getattr(named, "__match_args__", None) or ()
    return list(fields) if len(fields) == count and all(isinstance(f, str) for f in fields) else []


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
    given = {name: getattr(signature, name) for name in ("in_spec", "out_spec")}
    specs = {name: _plain(spec, name == "out_spec") for name, spec in given.items() if spec is not None}
    if all(spec == getattr(signature, name) for name, spec in specs.items()):
        return False
    ep._module_call_graph = [replace(graph[0], signature=replace(signature, **specs)), *graph[1:]]
    return True
