"""Finds the bounds of a program's integers, from its constants, its dynamic sizes and the rules of its operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch.fx import Node

from .bounds import META, Range, is_exact
from .node_view import overload_of

_NARROW = (torch.uint8, torch.int8, torch.int16)


def annotate(graph: torch.fx.Graph, view: HasConstants) -> None:
    """Notes at every call node the bounds of its integer result and of what it reads.

    Of a result that may wrap around, none: ggml, which computes in F32, cannot have it. Its readers see the bounds of
    its type.
    """
    known = IntegerBounds(view)
    for node in graph.nodes:
        if node.op == "call_function":
            node.meta[META] = {
                "result": known.computed(node),
                "inputs": tuple(known.of(source) for source in node.all_input_nodes),
            }


class HasConstants(Protocol):
    """What knows the data of a program's constants: a ``ProgramView``, or a pass's ``GraphEditor``."""

    def constant(self, node: Node) -> torch.Tensor | None:
        """The data of something that never changes, or None."""


class IntegerBounds:
    """Bounds of one program's integers, worked out when asked for."""

    def __init__(self, view: HasConstants) -> None:
        self.view = view
        self.known: dict[Node, Range | None] = {}

    def of(self, node: Any) -> Range | None:
        """Bounds of an integer or boolean tensor, of a number, or of a size."""
        if isinstance(node, bool):
            return int(node), int(node)
        if isinstance(node, int):
            return node, node
        if isinstance(node, torch.SymInt):
            return size_bounds(node)
        if not isinstance(node, Node):
            return None
        if node not in self.known:
            self.known[node] = self._tensor(node)
        return self.known[node]

    def computed(self, node: Node) -> Range | None:
        """Bounds of what an operator computes; None when nothing is known, or when it may wrap around."""
        dtype = _integer_type(node)
        if dtype is None:
            return self.of(node)
        found = self._found(node)
        if dtype is torch.bool:
            return found or (0, 1)
        info = torch.iinfo(dtype)
        return found if found is not None and info.min <= found[0] and found[1] <= info.max else None

    def _tensor(self, node: Node) -> Range | None:
        val = node.meta.get("val")
        if isinstance(val, (int, torch.SymInt)):
            return self.of(val)
        dtype = _integer_type(node)
        if dtype is None:
            return None
        natural = _natural(dtype)
        if node.op == "call_function" and dtype is not torch.bool:
            found = self.computed(node)
        else:
            found = self._found(node)
        if found is None or natural is None:
            return found if natural is None else natural
        return max(found[0], natural[0]), min(found[1], natural[1])

    def _found(self, node: Node) -> Range | None:
        """What constants or the operator's rule say."""
        if node.op == "placeholder":
            return self._constant(node)
        return self._call(node) if node.op == "call_function" else None

    def _constant(self, node: Node) -> Range | None:
        data = self.view.constant(node)
        if data is None:
            return _row_numbers(node)
        if data.numel() == 0 or data.numel() > 1 << 22:
            return None
        return int(data.min()), int(data.max())

    def _call(self, node: Node) -> Range | None:
        rule = _RULES.get(_plain_name(node))
        return None if rule is None else rule(self, node)


def _row_numbers(node: Node) -> Range | None:
    """Bounds of an argument of the program that names rows of a table: others are an error in torch as well."""
    for user in node.users:
        if user.op == "call_function" and str(overload_of(user.target)) == "aten.embedding.default":
            table, ids = user.args[:2]
            rows = table.meta["val"].shape[0] if isinstance(table, Node) else None
            if ids is node and isinstance(rows, int):
                return 0, rows - 1
    return None


def _integer_type(node: Node) -> torch.dtype | None:
    """Type of the (first) tensor that a node stands for, if those are integers or booleans."""
    val = node.meta.get("val")
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    if not isinstance(val, torch.Tensor) or val.dtype.is_floating_point or val.dtype.is_complex:
        return None
    return val.dtype


def _natural(dtype: torch.dtype) -> Range | None:
    if dtype is torch.bool:
        return 0, 1
    if dtype in _NARROW:
        info = torch.iinfo(dtype)
        return info.min, info.max
    return None


def size_bounds(size: torch.SymInt) -> Range | None:
    """Bounds of a symbolic size, as export declares them."""
    try:
        found = size.node.shape_env.bound_sympy(size.node.expr)
        return int(found.lower), int(found.upper)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def _dim(node: Node, dim: int) -> Range | None:
    size = node.meta["val"].shape[dim]
    return (size, size) if isinstance(size, int) else size_bounds(size)


def _argument(node: Node, index: int, name: str, default: Any = None) -> Any:
    return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)


# ------------------------------------------------------------------------------------------------------------- rules


def _first(b: IntegerBounds, node: Node) -> Range | None:
    return b.of(node.args[0])


def _union(b: IntegerBounds, *items: Any) -> Range | None:
    parts = [b.of(i) for i in items]
    if not parts or any(p is None for p in parts):
        return None
    return min(p[0] for p in parts if p), max(p[1] for p in parts if p)


def _corners(a: Range | None, c: Range | None, f: Callable[[int, int], int]) -> Range | None:
    if a is None or c is None:
        return None
    values = [f(x, y) for x in a for y in c]
    return min(values), max(values)


def _sum(sign: int) -> Callable[[IntegerBounds, Node], Range | None]:
    def rule(b: IntegerBounds, node: Node) -> Range | None:
        alpha = _argument(node, 2, "alpha", 1)
        if not isinstance(alpha, int) or not is_exact(_corners(b.of(node.args[1]), (alpha, alpha), lambda x, y: x * y)):
            return None
        return _corners(b.of(node.args[0]), b.of(node.args[1]), lambda x, y: x + sign * alpha * y)

    return rule


def _binary(f: Callable[[int, int], int]) -> Callable[[IntegerBounds, Node], Range | None]:
    return lambda b, node: _corners(b.of(node.args[0]), b.of(node.args[1]), f)


def _neg(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    return None if inner is None else (-inner[1], -inner[0])


def _abs(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None:
        return None
    return max(0, inner[0], -inner[1]), max(abs(inner[0]), abs(inner[1]))


def _arange(b: IntegerBounds, node: Node) -> Range | None:
    step = _argument(node, 2, "step", 1)
    start = b.of(node.args[0])
    length = _dim(node, 0)
    if len(node.args) < 2:
        start = (0, 0)
    if start is None or length is None or not isinstance(step, int):
        return None
    last = _corners((0, max(length[1] - 1, 0)), (step, step), lambda x, y: x * y)
    assert last is not None
    return start[0] + last[0], start[1] + last[1]


def _full(index: int) -> Callable[[IntegerBounds, Node], Range | None]:
    return lambda b, node: b.of(node.args[index])


def _total(b: IntegerBounds, node: Node, count: Range | None) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None or count is None:
        return None
    return min(inner[0], inner[0] * count[1]), max(inner[1], inner[1] * count[1])


def _cumsum(b: IntegerBounds, node: Node) -> Range | None:
    rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    return _total(b, node, _dim(node, int(node.args[1])) if rank else (1, 1))  # type: ignore[arg-type]


def _sum_dims(b: IntegerBounds, node: Node) -> Range | None:
    source: Any = node.args[0]
    rank = len(source.meta["val"].shape)
    dims = _argument(node, 1, "dim", None)
    count = (1, 1)
    for d in range(rank) if not dims else [int(d) % rank for d in dims]:
        size = _dim(source, d)
        if size is None:
            return None
        count = (0, count[1] * size[1])
    found = _total(b, node, count)
    return None if found is None else (min(found[0], 0), max(found[1], 0))


def _convert(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if inner is None:
        return None
    val = node.meta["val"]
    if val.dtype is torch.bool:
        return (0, 0) if inner == (0, 0) else (1, 1) if inner[0] > 0 or inner[1] < 0 else (0, 1)
    info = torch.iinfo(val.dtype)
    return inner if info.min <= inner[0] and inner[1] <= info.max else None


def _arg(b: IntegerBounds, node: Node) -> Range | None:
    source: Any = node.args[0]
    dim = _argument(node, 1, "dim", None)
    size = _dim(source, int(dim)) if dim is not None else None
    return None if size is None else (0, max(size[1] - 1, 0))


def _part(b: IntegerBounds, node: Node) -> Range | None:
    """One of several results: positions from a sort or a search, which lie inside the dimension searched."""
    source: Any = node.args[0]
    name = getattr(getattr(overload_of(source.target), "overloadpacket", None), "__name__", "")
    if node.args[1] != 1 or name not in ("topk", "sort", "max", "min", "median"):
        return _first(b, node)
    searched: Any = source.args[0]
    rank = len(searched.meta["val"].shape)
    dim = _argument(source, 2, "dim", -1) if name == "topk" else _argument(source, 1, "dim", -1)
    if name == "sort" and overload_of(source.target) is torch.ops.aten.sort.stable:
        dim = source.kwargs.get("dim", -1)
    size = _dim(searched, int(dim)) if rank else (1, 1)
    return None if size is None else (0, max(size[1] - 1, 0))


def _compare(f: Callable[[Range, Range], bool | None]) -> Callable[[IntegerBounds, Node], Range | None]:
    """A comparison that comes out the same for all values within the bounds."""

    def rule(b: IntegerBounds, node: Node) -> Range | None:
        left, right = b.of(node.args[0]), b.of(node.args[1])
        decided = None if left is None or right is None else f(left, right)
        return (0, 1) if decided is None else (int(decided), int(decided))

    return rule


def _less(x: Range, y: Range) -> bool | None:
    return True if x[1] < y[0] else False if x[0] >= y[1] else None


def _less_equal(x: Range, y: Range) -> bool | None:
    return True if x[1] <= y[0] else False if x[0] > y[1] else None


def _equal(x: Range, y: Range) -> bool | None:
    return True if x[0] == x[1] == y[0] == y[1] else False if x[1] < y[0] or y[1] < x[0] else None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _and(b: IntegerBounds, node: Node) -> Range | None:
    both = _both(b, node)
    return None if both is None else (min(both[0][0], both[1][0]), min(both[0][1], both[1][1]))


def _or(b: IntegerBounds, node: Node) -> Range | None:
    both = _both(b, node)
    return None if both is None else (max(both[0][0], both[1][0]), max(both[0][1], both[1][1]))


def _both(b: IntegerBounds, node: Node) -> tuple[Range, Range] | None:
    """Operands of a boolean operator; bits of integers are another matter."""
    left, right = b.of(node.args[0]), b.of(node.args[1])
    if node.meta["val"].dtype is not torch.bool or left is None or right is None:
        return None
    return (left, right) if left[0] >= 0 and left[1] <= 1 and right[0] >= 0 and right[1] <= 1 else None


def _invert(b: IntegerBounds, node: Node) -> Range | None:
    inner = b.of(node.args[0])
    if node.meta["val"].dtype is not torch.bool or inner is None or inner[0] < 0 or inner[1] > 1:
        return None
    return 1 - inner[1], 1 - inner[0]


def _clamp(b: IntegerBounds, node: Node) -> Range | None:
    inner, low, high = b.of(node.args[0]), _argument(node, 1, "min"), _argument(node, 2, "max")
    if isinstance(low, int) and isinstance(high, int):
        inner = inner or (low, high)
    if inner is None:
        return None
    for bound, pick in ((low, max), (high, min)):
        if isinstance(bound, int):
            inner = pick(inner[0], bound), pick(inner[1], bound)
    return inner


def _remainder(b: IntegerBounds, node: Node) -> Range | None:
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
        name = _plain_name(node)
        source = node.args[0] if node.args else None
        if name in _PLACES:
            searched = source
        elif name == "getitem" and isinstance(source, Node) and _plain_name(source) in _SEARCHES and node.args[1] == 1:
            node, searched = source, source.args[0]
        elif name in _RULES and _RULES[name] in (_first, _convert):
            node = source
            continue
        else:
            return False
        dim = _argument(node, {"topk": 2, "kthvalue": 2}.get(_plain_name(node), 1), "dim")
        shape = searched.meta["val"].shape if isinstance(searched, Node) else ()
        dim = -1 if dim is None and _plain_name(node) not in _PLACES else dim
        return isinstance(dim, int) and bool(shape) and _same_size(shape[dim], size)
    return False


def _plain_name(node: Node) -> str:
    """The operator without namespace and overload, and without `_copy` where that is another name for a view."""
    packet = getattr(overload_of(node.target), "overloadpacket", None)
    name = str(getattr(packet, "__name__", getattr(node.target, "__name__", "")))
    plain = name.removesuffix("_copy")
    return plain if plain in _RULES else name


def _same_size(a: Any, b: Any) -> bool:
    return isinstance(a, torch.SymInt) and isinstance(b, torch.SymInt) and a.node.expr == b.node.expr


_PLACES = frozenset({"argmax", "argmin"})
_SEARCHES = frozenset({"topk", "sort", "max", "min", "median", "mode", "kthvalue"})

_MOVES = (
    "view reshape _unsafe_view unsqueeze squeeze expand permute transpose t slice select clone alias detach "
    "lift_fresh contiguous index gather repeat flip roll index_select split split_with_sizes unbind chunk flatten "
    "_clone_dim_order narrow"
)

_RULES: dict[str, Callable[[IntegerBounds, Node], Range | None]] = {
    **dict.fromkeys(_MOVES.split(), _first),
    "cat": lambda b, n: _union(b, *n.args[0]),  # type: ignore[misc]
    "stack": lambda b, n: _union(b, *n.args[0]),  # type: ignore[misc]
    "where": lambda b, n: _union(b, n.args[1], n.args[2]),
    "masked_fill": lambda b, n: _union(b, n.args[0], n.args[2]),
    "slice_scatter": lambda b, n: _union(b, n.args[0], n.args[1]),
    "select_scatter": lambda b, n: _union(b, n.args[0], n.args[1]),
    "add": _sum(1),
    "sub": _sum(-1),
    "mul": _binary(lambda x, y: x * y),
    "minimum": _binary(min),
    "maximum": _binary(max),
    "neg": _neg,
    "abs": _abs,
    "arange": _arange,
    "full": _full(1),
    "full_like": _full(1),
    "new_full": _full(2),
    "scalar_tensor": _full(0),
    "zeros": lambda b, n: (0, 0),
    "zeros_like": lambda b, n: (0, 0),
    "new_zeros": lambda b, n: (0, 0),
    "ones": lambda b, n: (1, 1),
    "ones_like": lambda b, n: (1, 1),
    "new_ones": lambda b, n: (1, 1),
    "cumsum": _cumsum,
    "sum": _sum_dims,
    "_to_dim_order": _convert,
    "_to": _convert,
    "to": _convert,
    "getitem": _part,
    "embedding": _first,
    **dict.fromkeys(("sort", "topk", "median", "kthvalue"), _first),
    "argmax": _arg,
    "argmin": _arg,
    "lt": _compare(_less),
    "le": _compare(_less_equal),
    "gt": _compare(lambda x, y: _less(y, x)),
    "ge": _compare(lambda x, y: _less_equal(y, x)),
    "eq": _compare(_equal),
    "ne": _compare(lambda x, y: _not(_equal(x, y))),
    "bitwise_and": _and,
    "logical_and": _and,
    "__and__": _and,
    "bitwise_or": _or,
    "logical_or": _or,
    "__or__": _or,
    "bitwise_not": _invert,
    "logical_not": _invert,
    "clamp": _clamp,
    "fmod": _remainder,
    "remainder": _remainder,
}
