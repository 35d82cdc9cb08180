"""KV caches among the mutable buffers of an edge program: rows written at positions, and read by attention alone.

The session chooses the type of such a cache (fp16 unless told otherwise), because attention rounds keys and values
anyway. A cache lies in memory as attention reads it, ``[batch, positions, heads, size]``, in any order that the model
declares: then all kernels of attention take it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.fx import Node

from executorch_ggml.ir import graph as g
from executorch_ggml.ir.builder import Builder, DType, Value

from .node_view import base_name

# Operators that read a KV cache, and the arguments that it is. Their dimensions are [B, S, H, D].
_READERS = {"executorch_ggml::causal_attention": slice(1, 3), "executorch_ggml::take_rows": slice(0, 1)}
_POSITIONS = {"executorch_ggml::causal_attention": 3}
_PERMUTES = ("aten::permute_copy", "aten::permute")
_TRANSPOSES = ("aten::transpose_copy", "aten::transpose")
_RESHAPES = (
    "aten::view_copy", "aten::view", "aten::reshape", "aten::_unsafe_view", "aten::squeeze_copy", "aten::unsqueeze_copy"
)  # fmt: skip
_SAME = ("aten::alias_copy", "aten::alias")
_CONVERSIONS = ("aten::_to_copy", "dim_order_ops::_to_dim_order_copy")
# Between the numbers that a caller gives and those that an operator reads.
_THE_SAME_NUMBERS = frozenset({"aten::slice_copy", "aten::slice", *_CONVERSIONS, *_SAME})

_Axes = tuple[int | None, ...]
"""Per dimension of a view the dimension of the buffer, None for a dimension of one that the view has added."""


@dataclass
class KvCache:
    """A mutable buffer that is a KV cache.

    Attributes:
        order: the buffer's dimensions in the order of memory.
        members: the nodes that write it, the views of it, and the nodes that read those.
    """

    order: tuple[int, ...]
    members: list[Node] = field(default_factory=list)

    @property
    def back(self) -> list[int]:
        """The permutation from the order of memory to the buffer's own."""
        return [self.order.index(d) for d in range(len(self.order))]


def kv_cache(placeholder: Node) -> KvCache | None:
    """A mutable buffer seen as a KV cache, or None: something else writes or reads it."""
    search = _Search(placeholder)
    return search.found() if search.run() else None


def declare(
    b: Builder, name: str, shape: tuple[int, ...], dtype: DType, cache: KvCache | None, initial: str = ""
) -> Value:
    """The state of a buffer, with the buffer's own dimensions."""
    if cache is None:
        return b.add_state(name, shape, dtype, g.GENERIC_STATE, initial)
    stored = b.add_state(name, tuple(shape[d] for d in cache.order), dtype, g.KV_CACHE, initial)
    return b.permute(stored, cache.back)


class _Search:
    def __init__(self, placeholder: Node) -> None:
        self.placeholder = placeholder
        self.rank = len(_shape(placeholder))
        self.views: dict[Node, _Axes | None] = {placeholder: tuple(range(self.rank))}
        """Nodes that are the cache or a view of it; None: dense, with other dimensions."""
        self.whole: set[Node] = {placeholder}
        """Those of them that are the cache itself, before or after a write."""
        self.members: list[Node] = []
        self.orders: set[tuple[int, ...]] = set()
        self.written: set[object] = set()
        self.attended: set[object] = set()

    def run(self) -> bool:
        todo = [self.placeholder]
        while todo:
            current = todo.pop()
            for user in current.users:
                if user.op == "output":
                    if current not in self.whole:
                        return False
                    continue
                if user not in self.views:
                    if not self._take(current, user):
                        return False
                    self.members.append(user)
                    if user in self.views:
                        todo.append(user)
                elif user.args[0] is not current:  # the cache as the values that are written into it
                    return False
        # Rows that are moved have other positions than those they were written at.
        moved = any(base_name(m) == "executorch_ggml::take_rows" for m in self.members)
        attended = bool(self.attended) and self.written <= self.attended
        return len(self.orders) == 1 and (moved or attended)

    def found(self) -> KvCache:
        (order,) = self.orders
        return KvCache(order, self.members)

    def _take(self, current: Node, user: Node) -> bool:
        """Whether a reader of the cache, or of a view, leaves it a cache."""
        name = base_name(user)
        if name in _READERS:
            read = user.args[_READERS[name]]
            uses = sum(a is current for a in user.args)
            return uses == sum(a is current for a in read) and self._read(current, user)
        if sum(a is current for a in user.all_input_nodes) != 1 or not user.args or user.args[0] is not current:
            return False
        if current in self.whole and name in ("aten::index_copy", "aten::index_put"):
            index = user.args[2] if name == "aten::index_copy" else _only_index(user)
            if not isinstance(index, Node) or len(_shape(index)) != 1:
                return False
            self.written.add(_numbers(index))
            self.views[user] = self.views[current]
            self.whole.add(user)
            return True
        return self._view(current, user, name)

    def _read(self, current: Node, user: Node) -> bool:
        name = base_name(user)
        if name in _POSITIONS:
            self.attended.add(_numbers(user.args[_POSITIONS[name]]))
        axes = self.views[current]
        if axes is None:
            self.orders.add(tuple(range(self.rank)))
            return True
        seen = [a for a in axes if a is not None]
        self.orders.add((*(d for d in range(self.rank) if d not in seen), *seen))  # missing ones have the size one
        return True

    def _view(self, current: Node, user: Node, name: str) -> bool:
        axes = self.views[current]
        shape = _shape(user)
        if len(shape) > 4:
            return False
        if name in _SAME or (name in _CONVERSIONS and user.meta["val"].dtype == torch.float32):
            self.views[user] = axes
        elif name in _PERMUTES or name in _TRANSPOSES:
            order = _permutation(user, len(shape), name in _TRANSPOSES)
            if axes is None:
                return False
            self.views[user] = tuple(axes[d] for d in order)
        elif name in _RESHAPES:
            kept = None if axes is None else _renamed(_shape(current), shape, axes)
            dense = axes is None or [a for a in axes if a is not None] == sorted(a for a in axes if a is not None)
            if kept is None and not dense:
                return False
            self.views[user] = kept
        else:
            return False
        return True


def _renamed(old: tuple[Any, ...], new: tuple[Any, ...], axes: _Axes) -> _Axes | None:
    """The axes of a reshape that only adds and drops dimensions of one; None for any other."""
    kept = [a for a, d in zip(axes, old, strict=True) if d != 1]
    if [d for d in old if d != 1] != [d for d in new if d != 1]:
        return None
    rest = iter(kept)
    return tuple(next(rest) if d != 1 else None for d in new)


def _permutation(node: Node, rank: int, transpose: bool) -> list[int]:
    arguments: Any = node.args
    if not transpose:
        return [d % rank for d in arguments[1]]
    order = list(range(rank))
    a, b = (d % rank for d in arguments[1:3])
    order[a], order[b] = order[b], order[a]
    return order


def _only_index(node: Node) -> object:
    arguments: Any = node.args
    given = [i for i in arguments[1] if i is not None]
    adds = (arguments[3] if len(arguments) > 3 else node.kwargs.get("accumulate", False)) is not False
    return given[0] if len(given) == 1 and not adds else None


def _numbers(node: object) -> object:
    """The node that integers come from: a part of them, or another integer type, has the same numbers."""
    while isinstance(node, Node) and base_name(node) in _THE_SAME_NUMBERS:
        node = node.args[0]
    return node


def _shape(node: Node) -> tuple[Any, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
