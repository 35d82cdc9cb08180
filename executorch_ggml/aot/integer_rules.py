"""Rules for the bounds of integers: an operator's registration names the one that holds for it (``bounds=``).

Each takes the bounds that are known and a node, and gives the bounds of the node's result; None when it cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Node

from .bounds import Range, is_exact
from .integer_bounds import SEARCHES, argument_of, dimension
from .registry import bounds_rule, plain_name

if TYPE_CHECKING:
    from .integer_bounds import IntegerBounds

Rule = Callable[["IntegerBounds", Node], "Range | None"]


def first(b: IntegerBounds, node: Node) -> Range | None:
    return b.of(node.args[0])


def union(*indices: int) -> Rule:
    """Elements of several arguments."""
    return lambda b, node: _union(b, [node.args[i] for i in indices])


def union_of_list(b: IntegerBounds, node: Node) -> Range | None:
    """Elements of all tensors of the first argument, a list."""
    return _union(b, node.args[0])


def _union(b: IntegerBounds, items: Any) -> Range | None:
    parts = [b.of(i) for i in items]
    if not parts or any(p is None for p in parts):
        return None
    return min(p[0] for p in parts if p), max(p[1] for p in parts if p)


def constant(value: int) -> Rule:
    """Nothing but one number."""
    return lambda b, node: (value, value)


def _corners(a: Range | None, c: Range | None, f: Callable[[int, int], int]) -> Range | None:
    if a is None or c is None:
        return None
    values = [f(x, y) for x in a for y in c]
    return min(values), max(values)


def added(sign: int) -> Rule:
    def rule(b: IntegerBounds, node: Node) -> Range | None:
        alpha = argument_of(node, 2, "alpha", 1)
        if not isinstance(alpha, int) or not is_exact(_corners(b.of(node.args[1]), (alpha, alpha), lambda x, y: x * y)):
            return None
        return _corners(b.of(node.args[0]), b.of(node.args[1]), lambda x, y: x + sign * alpha * y)

    return rule


def corners_of(f: Callable[[int, int], int]) -> Rule:
    return lambda b, node: _corners(b.of(node.args[0]), b.of(node.args[1]), f)


def negated(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    return None if inner is None else (-inner[1], -inner[0])


def absolute(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None:
        return None
    return max(0, inner[0], -inner[1]), max(abs(inner[0]), abs(inner[1]))


def arange(b: IntegerBounds, node: Node) -> Range | None:
    step = argument_of(node, 2, "step", 1)
    start = b.of(node.args[0])
    length = dimension(node, 0)
    if len(node.args) < 2:
        start = (0, 0)
    if start is None or length is None or not isinstance(step, int):
        return None
    last = _corners((0, max(length[1] - 1, 0)), (step, step), lambda x, y: x * y)
    assert last is not None
    return start[0] + last[0], start[1] + last[1]


def argument(index: int) -> Rule:
    return lambda b, node: b.of(node.args[index])


def _total(b: IntegerBounds, node: Node, count: Range | None) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None or count is None:
        return None
    return min(inner[0], inner[0] * count[1]), max(inner[1], inner[1] * count[1])


def running_sum(b: IntegerBounds, node: Node) -> Range | None:
    rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    return _total(b, node, dimension(node, int(node.args[1])) if rank else (1, 1))  # type: ignore[arg-type]


def running_product(b: IntegerBounds, node: Node) -> Range | None:
    """Of numbers of at most one in size."""
    inner = b.of(node.args[0])
    if inner is None or inner[0] < -1 or inner[1] > 1:
        return None
    return (inner[0] if inner[0] >= 0 else -1, 1)


def searched(index: int) -> Rule:
    """Places between the elements of the rows of an argument: before the first to behind the last."""

    def rule(b: IntegerBounds, node: Node) -> Range | None:
        rows: Any = node.args[index]
        size = dimension(rows, -1) if rows.meta["val"].dim() else None
        return None if size is None else (0, size[1])

    return rule


def summed(b: IntegerBounds, node: Node) -> Range | None:
    source: Any = node.args[0]
    rank = len(source.meta["val"].shape)
    dims = argument_of(node, 1, "dim", None)
    count = (1, 1)
    for d in range(rank) if not dims or not rank else [int(d) % rank for d in dims]:
        size = dimension(source, d)
        if size is None:
            return None
        count = (0, count[1] * size[1])
    found = _total(b, node, count)
    return None if found is None else (min(found[0], 0), max(found[1], 0))


def converted(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None:
        return None
    val = node.meta["val"]
    if val.dtype is torch.bool:
        return (0, 0) if inner == (0, 0) else (1, 1) if inner[0] > 0 or inner[1] < 0 else (0, 1)
    info = torch.iinfo(val.dtype)
    return inner if info.min <= inner[0] and inner[1] <= info.max else None


def position(b: IntegerBounds, node: Node) -> Range | None:
    source: Any = node.args[0]
    dim = argument_of(node, 1, "dim", None)
    size = dimension(source, int(dim)) if dim is not None else None
    return None if size is None else (0, max(size[1] - 1, 0))


def compared(f: Callable[[Range, Range], bool | None]) -> Rule:
    """A comparison that comes out the same for all values within the bounds."""

    def rule(b: IntegerBounds, node: Node) -> Range | None:
        left, right = b.of(node.args[0]), b.of(node.args[1])
        decided = None if left is None or right is None else f(left, right)
        return (0, 1) if decided is None else (int(decided), int(decided))

    return rule


def less(x: Range, y: Range) -> bool | None:
    return True if x[1] < y[0] else False if x[0] >= y[1] else None


def less_equal(x: Range, y: Range) -> bool | None:
    return True if x[1] <= y[0] else False if x[0] > y[1] else None


def equal(x: Range, y: Range) -> bool | None:
    return True if x[0] == x[1] == y[0] == y[1] else False if x[1] < y[0] or y[1] < x[0] else None


def greater(x: Range, y: Range) -> bool | None:
    """``x > y``."""
    return less(y, x)


def greater_equal(x: Range, y: Range) -> bool | None:
    """``x >= y``."""
    return less_equal(y, x)


def not_equal(x: Range, y: Range) -> bool | None:
    """``x != y``."""
    return _not(equal(x, y))


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def both(b: IntegerBounds, node: Node) -> Range | None:
    both = _booleans(b, node)
    return None if both is None else (min(both[0][0], both[1][0]), min(both[0][1], both[1][1]))


def either(b: IntegerBounds, node: Node) -> Range | None:
    both = _booleans(b, node)
    return None if both is None else (max(both[0][0], both[1][0]), max(both[0][1], both[1][1]))


def _booleans(b: IntegerBounds, node: Node) -> tuple[Range, Range] | None:
    """Operands of a boolean operator; bits of integers are another matter."""
    left, right = b.of(node.args[0]), b.of(node.args[1])
    if node.meta["val"].dtype is not torch.bool or left is None or right is None:
        return None
    return (left, right) if left[0] >= 0 and left[1] <= 1 and right[0] >= 0 and right[1] <= 1 else None


def inverted(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if node.meta["val"].dtype is not torch.bool or inner is None or inner[0] < 0 or inner[1] > 1:
        return None
    return 1 - inner[1], 1 - inner[0]


def clamp(b: IntegerBounds, node: Node) -> Range | None:
    """Limits are numbers or tensors; one that is unknown may be anything."""
    inner, given = b.of(node.args[0]), (argument_of(node, 1, "min"), argument_of(node, 2, "max"))
    low, high = (b.of(limit) for limit in given)
    if any(limit is not None and found is None for limit, found in zip(given, (low, high), strict=True)):
        return None
    if inner is None and low is not None and high is not None:
        inner = low[0], max(low[1], high[1])
    if inner is None:
        return None
    for limit, pick in ((low, max), (high, min)):
        if limit is not None:
            inner = pick(inner[0], limit[0]), pick(inner[1], limit[1])
    return inner


def remainder(b: IntegerBounds, node: Node) -> Range | None:
    """fmod and remainder by a positive number."""
    inner, divisor = b.of(node.args[0]), node.args[1]
    if inner is None or not isinstance(divisor, int) or divisor <= 0:
        return None
    if inner[0] < 0:
        return 1 - divisor, divisor - 1
    return (0, min(inner[1], divisor - 1))


def names_places_of(node: Any, size: Any) -> bool:
    """Whether all elements are places along a dimension of ``size`` (a torch.SymInt): bounds alone do not show that.

    ``size`` may be anything of its range, but a search for a maximum over that dimension stays below it.
    """
    while isinstance(node, Node) and node.op == "call_function":
        name = plain_name(node)
        source = node.args[0] if node.args else None
        if name in _PLACES:
            searched = source
        elif name == "getitem" and isinstance(source, Node) and plain_name(source) in SEARCHES and node.args[1] == 1:
            node, searched = source, source.args[0]
        elif bounds_rule(node.target) in (first, converted):
            node = source
            continue
        else:
            return False
        dim = argument_of(node, {"topk": 2, "kthvalue": 2}.get(plain_name(node), 1), "dim")
        shape = searched.meta["val"].shape if isinstance(searched, Node) else ()
        dim = -1 if dim is None and plain_name(node) not in _PLACES else dim
        return isinstance(dim, int) and bool(shape) and _same_size(shape[dim], size)
    return False


def _same_size(a: Any, b: Any) -> bool:
    return isinstance(a, torch.SymInt) and isinstance(b, torch.SymInt) and a.node.expr == b.node.expr


_PLACES = frozenset({"argmax", "argmin"})
