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
        cpu_only: another device must refuse it, with a reason. The registration says so.
    """

    fn: Callable[..., Any]
    args: Sequence[Any]
    dynamic: Sequence[Mapping[int, tuple[str, int, int]]] = ()
    tolerance: float = 1e-9
    refused: str = ""
    name: str = ""
    cpu_only: bool = False


@dataclass(frozen=True)
class Facts:
    """Facts about an operator that hold whether it is delegated or not.

    Attributes:
        bounds: the rule for the bounds of an integer result (``integer_rules``).
        flops: the rule that counts its floating-point operations (``flop_rules``).
        either_side: ExecuTorch runs it as well and in no time, so it may live on either side of a boundary.
        ahead_of_time: a table of numbers may be made of it when the program is lowered (``passes/_evaluate``).
        cpu_only: its kernel is one of the CPU, and other devices refuse the program when it is loaded.
    """

    bounds: Callable[..., Any] | None = None
    flops: Callable[..., int] | None = None
    either_side: bool = False
    ahead_of_time: bool = False
    cpu_only: bool = False


@dataclass(frozen=True)
class Entry:
    """The facts about one operator."""

    target: Any
    lower: Lowering
    keep: bool
    moves: bool
    always_keep: bool
    facts: Facts
    cases: Callable[[], Sequence[Case]] | None = field(default=None, compare=False)


_ENTRIES: dict[Any, Entry] = {}
_FACTS: dict[str, list[Facts]] = {}
_NAMESPACES = frozenset({"aten", "dim_order_ops", "executorch_ggml"})
_loaded = False


def register(
    *targets: Any,
    keep: bool = False,
    moves: bool = False,
    always_keep: bool = False,
    bounds: Callable[..., Any] | None = None,
    flops: Callable[..., int] | None = None,
    either_side: bool = False,
    ahead_of_time: bool = False,
    cpu_only: bool = False,
    cases: Callable[[], Sequence[Case]] | None = None,
) -> Callable[[Lowering], Lowering]:
    """Declares the lowering of one or several ATen overloads.

    Args:
        targets: ``torch.ops...`` overloads; edge-dialect nodes are matched through them, exactly. The operator of a
            package that may not be imported is its schema's name, ``"namespace::name"``.
        keep: ask the exporter not to decompose the operator (where every node of it is supported).
        moves: the operator only renames, moves or makes data: it counts no FLOPs, and a partition of nothing else is
            not worth a delegate, unless it is the whole program.
        always_keep: keep it even where it does not occur yet (it appears in decompositions of others).
        bounds, flops, either_side, ahead_of_time, cpu_only: see ``Facts``.
        cases: gives the test cases, run by ``tests/ops``.
    """

    facts = Facts(bounds, flops, either_side, ahead_of_time, cpu_only)

    def wrap(function: Lowering) -> Lowering:
        for target in targets:
            if target in _ENTRIES:
                raise ValueError(f"{target} is registered twice")
            _ENTRIES[target] = Entry(target, function, keep, moves, always_keep, facts, cases)
            _FACTS.setdefault(operator_name(target), []).append(facts)
        return function

    return wrap


def declare(*names: str, bounds: Callable[..., Any] | None = None, flops: Callable[..., int] | None = None) -> None:
    """Facts about operators that no delegate runs, or that are taken apart before one could."""
    for name in names:
        _FACTS.setdefault(name, []).append(Facts(bounds, flops))


def operator_name(target: Any) -> str:
    """The operator of a node's target (or of a registered one) without namespace and overload: ``view_copy``.

    Operators of other packages keep their namespace: ``quantized_decomposed::add`` is no ``add``.
    """
    if isinstance(target, str):
        return target
    overload = overload_of(target)
    packet = getattr(overload, "overloadpacket", None)
    name = str(getattr(packet, "__name__", getattr(target, "__name__", "")))
    namespace = getattr(overload, "namespace", "aten")
    return name if namespace in _NAMESPACES else f"{namespace}::{name}"


def plain_name(node: Any) -> str:
    """The operator of a node, without ``_copy`` where that is another name for a view (``index_copy`` is not)."""
    name = operator_name(node.target)
    return _known_name(name) or name


def _known_name(name: str) -> str | None:
    load_all()
    return next((n for n in (name, name.removesuffix("_copy")) if n in _FACTS), None)


def bounds_rule(target: Any) -> Callable[..., Any] | None:
    """The rule for the bounds of an operator's integer result, stated by any of its overloads."""
    known = _FACTS.get(_known_name(operator_name(target)) or "", ())
    return next((f.bounds for f in known if f.bounds is not None), None)


def flops_rule(target: Any) -> Callable[..., int] | None:
    """The rule that counts an operator's FLOPs."""
    known = _FACTS.get(_known_name(operator_name(target)) or "", ())
    return next((f.flops for f in known if f.flops is not None), None)


def either_side(target: Any) -> bool:
    """Whether ExecuTorch runs the operator as well, in no time."""
    load_all()
    return any(f.either_side for f in _FACTS.get(operator_name(target), ()))


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
