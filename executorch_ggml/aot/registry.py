"""One entry per ATen operator: its lowering, whether it is kept whole, and its test cases.

The same function serves twice. The partitioner runs it on a scratch builder, to learn whether a node can be delegated,
and why not. The backend runs it to build the payload. It either returns IR values or raises ``Unsupported``.

    @register(torch.ops.aten.silu.default, keep=True, cases=lambda: [Case(F.silu, [(2, 3)])])
    def silu(b: Builder, n: NodeView) -> Value:
        return b.unary(UnaryKind.SILU, n.tensor("self"))
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from executorch_ggml.ir.builder import Builder, Unsupported, Value

from .node_view import NodeView, overload_of

Lowered = Value | tuple[Value | None, ...] | None
Lowering = Callable[[Builder, NodeView], Lowered]


@dataclass(frozen=True)
class Arg:
    """A tensor argument of a test case: torch shape, type, and the range that values are drawn from."""

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    low: float = -3.0
    high: float = 3.0


@dataclass(frozen=True)
class Case:
    """One check of a lowering against eager torch.

    Attributes:
        fn: function (or module factory result) of the tensors in ``args``.
        args: shapes, or ``Arg`` for other types and ranges.
        dynamic: per argument ``{dimension: (name, min, max)}``; equal names are one symbol.
        tolerance: bound of the normalised mean squared error.
        refused: the case must NOT be delegated, and the reason must contain this text.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    dynamic: Sequence[Mapping[int, tuple[str, int, int]]] = ()
    tolerance: float = 1e-9
    refused: str = ""
    name: str = ""


@dataclass(frozen=True)
class Entry:
    """What is known about one operator."""

    target: Any
    lower: Lowering
    keep: bool
    trivial: bool
    always_keep: bool
    cases: Callable[[], Sequence[Case]] | None = field(default=None, compare=False)


_ENTRIES: dict[Any, Entry] = {}
_loaded = False


def register(
    *targets: Any,
    keep: bool = False,
    trivial: bool = False,
    always_keep: bool = False,
    cases: Callable[[], Sequence[Case]] | None = None,
) -> Callable[[Lowering], Lowering]:
    """Declares the lowering of one or several ATen overloads.

    Args:
        targets: ``torch.ops...`` overloads; edge-dialect nodes are matched through them, exactly. The operator of a
            package that may not be imported is its schema's name, ``"namespace::name"``.
        keep: ask the exporter not to decompose the operator (where every node of it is supported).
        trivial: the operator only renames or moves data; a partition of nothing else is not worth a delegate,
            unless it is the whole program.
        always_keep: keep it even where it does not occur yet (it appears in decompositions of others).
        cases: gives the test cases, run by ``tests/ops``.
    """

    def wrap(function: Lowering) -> Lowering:
        for target in targets:
            if target in _ENTRIES:
                raise ValueError(f"{target} is registered twice")
            _ENTRIES[target] = Entry(target, function, keep, trivial, always_keep, cases)
        return function

    return wrap


def load_all() -> None:
    """Registers all operators: imports every module of the folder ``ops``, which this module does not know by name."""
    global _loaded
    if _loaded:
        return
    for module in pkgutil.iter_modules([str(Path(__file__).with_name("ops"))]):
        importlib.import_module(f".ops.{module.name}", __package__)
    _loaded = True


def lookup(target: Any) -> Entry | None:
    """The entry of a node's target (ATen or edge dialect), or None."""
    load_all()
    overload = overload_of(target)
    found = _ENTRIES.get(overload)
    if found is None and isinstance(overload, torch._ops.OpOverload):
        found = _ENTRIES.get(overload._schema.name)
    return found


def entries() -> tuple[Entry, ...]:
    """All entries, in the order of registration."""
    load_all()
    return tuple(_ENTRIES.values())


__all__ = [
    "Arg",
    "Builder",
    "Case",
    "Entry",
    "Lowered",
    "Lowering",
    "NodeView",
    "Unsupported",
    "Value",
    "entries",
    "load_all",
    "lookup",
    "register",
]
