"""The sizes that a program was exported for, and the types of its results, as far as the edge program has them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from executorch_ggml.ir.dims import INT64_MAX

Range = tuple[int, int]

# A dynamic dimension is traced as "at least 2": a smaller minimum is not in an edge program, and is no loss.
_TRACED_MINIMUM = 2


@dataclass(frozen=True)
class _Exported:
    """Sizes of one program's inputs as exported, by name: a range for each dimension. And the types of its results."""

    sizes: Mapping[str, tuple[Range, ...]]
    results: tuple[torch.dtype | None, ...]

    def of(self, names: Sequence[str]) -> list[tuple[Range, ...]]:
        """The sizes of inputs in order, empty if these are not the program's. Some get a number (`input_1`)."""
        if all(name in self.sizes for name in names):
            return [self.sizes[name] for name in names]
        same = [_plain(name) for name in names] == [_plain(name) for name in self.sizes]
        return list(self.sizes.values()) if same else []


def _plain(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


class InputSizes:
    """Remembers the sizes of programs before they are decomposed, and finds those that were lost on the way.

    Hooks of a partitioner see a program before and after, but nothing in it says that it is the same one. Programs are
    matched by the names of their inputs; where several match, a loss must be one against each of them.
    """

    def __init__(self) -> None:
        self._seen: list[_Exported] = []
        self._complete = False

    def note(self, ep: ExportedProgram) -> None:
        """Before the program is decomposed."""
        if self._complete:  # the next lowering begins
            self._seen.clear()
            self._complete = False
        sizes = {n.name: ranges(n, ep.range_constraints) for n in user_inputs(ep)}
        self._seen.append(_Exported(sizes, tuple(dtype for _, dtype in _results(ep))))

    def may_be_empty(self, ep: ExportedProgram) -> frozenset[str]:
        """Names of the symbols of an edge program that were exported with a minimum of 0."""
        found: set[str] = set()
        others: set[str] = set()
        now = user_inputs(ep)
        for before in self._seen:
            for node, exported in zip(now, before.of([n.name for n in now]), strict=False):
                for size, (low, _) in zip(node.meta["val"].shape, exported, strict=False):
                    if isinstance(size, torch.SymInt) and size.node.expr.is_Symbol:
                        (others if low else found).add(str(size.node.expr))
        return frozenset(found - others)

    def lost(self, ep: ExportedProgram) -> list[tuple[Node, str]]:
        """Inputs of an edge program that take fewer sizes than the program was exported for, each with a reason."""
        self._complete = True
        now = [(n, ranges(n, ep.range_constraints)) for n in user_inputs(ep)]
        found: list[tuple[Node, str]] | None = None
        for before in self._seen:
            sizes = before.of([n.name for n, _ in now])
            if now and not sizes:
                continue
            losses = [
                (node, text)
                for (node, dims), exported in zip(now, sizes, strict=True)
                for text in _losses(exported, dims)
                if len(exported) == len(dims)
            ]
            if not losses:
                return []
            found = losses if found is None else found
        return found or []

    def changed_types(self, ep: ExportedProgram) -> list[tuple[Node, str]]:
        """Results of an edge program that have another type than the exported program's, each with a reason."""
        names = [n.name for n in user_inputs(ep)]
        now = _results(ep)
        found: list[tuple[Node, str]] | None = None
        for before in self._seen:
            if (names and not before.of(names)) or len(before.results) != len(now):
                continue
            changes = [
                (node, f"{new} instead of {old}: a decomposition changed the type of this result")
                for (node, new), old in zip(now, before.results, strict=True)
                if node is not None and None not in (old, new) and old != new
            ]
            if not changes:
                return []
            found = changes if found is None else found
        return found or []


def _results(ep: ExportedProgram) -> list[tuple[Node | None, torch.dtype | None]]:
    """The results for the caller, and their types; None for anything but a tensor."""
    output = next(n for n in ep.graph.nodes if n.op == "output")
    specs = ep.graph_signature.output_specs
    results = [r for spec, r in zip(specs, output.args[0], strict=True) if spec.kind is OutputKind.USER_OUTPUT]
    vals = [r.meta.get("val") if isinstance(r, Node) else None for r in results]
    return [
        (r if isinstance(r, Node) else None, v.dtype if isinstance(v, torch.Tensor) else None)
        for r, v in zip(results, vals, strict=True)
    ]


def user_inputs(ep: ExportedProgram) -> list[Node]:
    """Placeholders of a program's arguments that are tensors."""
    names = set(ep.graph_signature.user_inputs)
    nodes = [n for n in ep.graph.nodes if n.op == "placeholder" and n.name in names]
    return [n for n in nodes if isinstance(n.meta.get("val"), torch.Tensor)]


def ranges(node: Node, constraints: Mapping[Any, Any]) -> tuple[Range, ...]:
    """Smallest and largest size of each dimension of a tensor."""
    return tuple(_range(d, constraints) for d in node.meta["val"].shape)


def _range(dim: Any, constraints: Mapping[Any, Any]) -> Range:
    if isinstance(dim, int):
        return dim, dim
    from torch.utils._sympy.value_ranges import bound_sympy

    found = bound_sympy(dim.node.expr, {k: v for k, v in constraints.items() if hasattr(k, "is_Symbol")})
    return _number(found.lower, 0), _number(found.upper, INT64_MAX)


def _number(value: Any, default: int) -> int:
    return int(value) if getattr(value, "is_Integer", False) or isinstance(value, int) else default


def _losses(before: tuple[Range, ...], after: tuple[Range, ...]) -> list[str]:
    found = []
    for dim, (old, new) in enumerate(zip(before, after, strict=False)):
        if new[1] >= old[1] and new[0] <= max(old[0], _TRACED_MINIMUM):
            continue
        kept = f"takes {new[0]} only" if new[0] == new[1] else f"takes {_text(new)} only"
        found.append(
            f"dimension {dim} was exported for {_text(old)}, and the lowered program {kept}: a decomposition fixed it"
        )
    return found


def _text(sizes: Range) -> str:
    return f"{sizes[0]} to {sizes[1]}" if sizes[1] < INT64_MAX else f"{sizes[0]} or more"
