"""Evaluating a part of a graph on chosen positions, in float64, to see which function it is.

A table of rotation angles can be written in many ways (outer product, batched matmul, einsum, a table looked up by
position). All of them depend on one vector of integer positions, and on constants. `positions_of` finds
that vector, `Evaluator` computes the table for positions of our choice.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Node

from executorch_ggml.aot.registry import lookup

from ._graph import GraphEditor, args_of, aten, is_call, is_tensor, shape, value

# Layout operators that pass integer elements on unchanged, so that the vector behind them is still the positions.
_LAYOUT = (
    aten.unsqueeze.default,
    aten.squeeze.dims,
    aten.squeeze.dim,
    aten.squeeze.default,
    aten.view.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.expand.default,
    aten.clone.default,
    aten.alias.default,
)

# Operators that a table may be made of, beside those that are registered with ``ahead_of_time``. Nothing that looks at
# values is among them (where, max, comparisons): such a table could agree on samples and differ elsewhere.
_NOT_LOWERED = frozenset(
    {
        aten.type_as.default,
        aten.repeat_interleave.self_int,
        aten.outer.default,
        aten.einsum.default,
        aten.polar.default,
        aten.complex.default,
        aten.view_as_real.default,
        aten.view_as_complex.default,
        operator.getitem,
    }
)


def _is_allowed(target: Any) -> bool:
    entry = lookup(target)
    return target in _NOT_LOWERED or (entry is not None and entry.facts.ahead_of_time)


# Operators with several results, of which `getitem` picks one.
_SPLITS = (aten.split.Tensor, aten.split_with_sizes.default, aten.chunk.default, aten.unbind.int)


class NotEvaluableError(Exception):
    """The subgraph reads something that is neither a constant nor the positions."""


def through_layout(node: Node) -> Node:
    """The integer tensor that a chain of layout operators passes on."""
    while is_call(node, *_LAYOUT) or _only_expands(node):
        node = args_of(node)[0]
    return node


def _only_expands(node: Node) -> bool:
    """Whether this is a repeat of dimensions of size one, as an expand is."""
    if not is_call(node, aten.repeat.default):
        return False
    source, counts = args_of(node)[:2]
    dims = (1,) * (len(counts) - len(shape(source))) + shape(source)
    return all(size == 1 or count == 1 for size, count in zip(dims, counts, strict=True))


def positions_of(editor: GraphEditor, *roots: Node) -> list[Node]:
    """The integer tensors, behind layout operators, that the given float tensors are computed from.

    Constants do not count. Each is where integers enter: cast to float, or used as an index.

    Raises:
        NotEvaluableError: an operator that is not known to be a plain function of its arguments, or a float input.
    """
    found: list[Node] = []
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if not is_tensor(node):
            if isinstance(node.meta.get("val"), (torch.SymInt, int)):
                continue
            if is_call(node, *_SPLITS):
                stack.extend(node.all_input_nodes)
                continue
            raise NotEvaluableError(f"{node.name} is not a tensor")
        if editor.constant(node) is not None:
            continue
        if not value(node).is_floating_point() and not value(node).is_complex():
            base = through_layout(node)
            if editor.constant(base) is None and base not in found:
                found.append(base)
            continue
        if not is_call(node) or not _is_allowed(node.target):
            raise NotEvaluableError(f"{node.name} ({node.target}) is not a function of positions and constants")
        stack.extend(node.all_input_nodes)
    return found


class Evaluator:
    """Values of nodes for chosen contents of one integer tensor.

    Args:
        editor: gives the constants.
        leaf: the integer tensor that is given contents, or None.
        contents: its contents; its shape also decides the symbolic sizes.
        sizes: values of size symbols, by name.
    """

    def __init__(
        self, editor: GraphEditor, leaf: Node | None, contents: torch.Tensor | None, sizes: dict[str, int]
    ) -> None:
        self._editor = editor
        self._sizes = sizes
        self._known: dict[Node, torch.Tensor] = {}
        if leaf is not None and contents is not None:
            self._known[leaf] = contents

    def size(self, item: Any) -> Any:
        """A size with the chosen values for its symbols.

        Raises:
            NotEvaluableError: it depends on a symbol without a value.
        """
        if isinstance(item, Node):
            item = item.meta.get("val")
        if not isinstance(item, torch.SymInt):
            return item
        expr = item.node.expr
        expr = expr.subs({s: self._sizes[str(s)] for s in expr.free_symbols if str(s) in self._sizes})
        if expr.free_symbols:
            raise NotEvaluableError(f"size {expr} is not bound")
        return int(expr)

    def __call__(self, node: Node) -> torch.Tensor:
        """The value of a node, floats in float64.

        Raises:
            NotEvaluableError: as `positions_of`.
        """
        known = self._known.get(node)
        if known is not None:
            return known
        data = self._editor.constant(node)
        if data is not None:
            result = _widen(data)
        else:
            if not is_call(node) or not _is_allowed(node.target):
                raise NotEvaluableError(f"{node.name} is neither a constant nor the positions")
            result = self._pick(node) if node.target is operator.getitem else self._call(node)
        self._known[node] = result
        return result

    def _pick(self, node: Node) -> torch.Tensor:
        split, index = args_of(node)
        if not is_call(split, *_SPLITS):
            raise NotEvaluableError(f"{node.name} is a part of {split}")
        parts: Any = self._call(split)
        return _widen(parts[index])

    def _call(self, node: Node) -> Any:
        def convert(item: Node) -> Any:
            return self(item) if is_tensor(item) else self.size(item)

        args: Any = torch.fx.map_arg(node.args, convert)
        kwargs: dict[str, Any] = dict(torch.fx.map_arg(node.kwargs, convert))
        target: Any = node.target
        if target in (aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.type_as.default):
            source: torch.Tensor = args[0]
            wanted = value(node).dtype
            return source.to(torch.float64 if wanted.is_floating_point else wanted)
        for key in ("dtype", "device", "pin_memory", "layout", "memory_format"):
            kwargs.pop(key, None)
        if target in (
            aten.arange.default,
            aten.arange.start,
            aten.arange.start_step,
            aten.full.default,
            aten.ones.default,
        ):
            kwargs["dtype"] = torch.float64 if value(node).is_floating_point() else value(node).dtype
        try:
            with torch.no_grad():
                result = target(*args, **kwargs)
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            raise NotEvaluableError(f"{node.name}: {error}") from error
        return _widen(result) if isinstance(result, torch.Tensor) else result


def _widen(data: torch.Tensor) -> torch.Tensor:
    if data.is_complex():
        return data.to(torch.complex128)
    return data.to(torch.float64) if data.is_floating_point() else data


def bind_sizes(node: Node, length: int) -> dict[str, int]:
    """Values of the size symbols in a node's shape such that its only symbolic dimension has the given length.

    Raises:
        NotEvaluableError: more than one dimension is symbolic, or it is not a plain symbol.
    """
    symbolic = [d for d in shape(node) if isinstance(d, torch.SymInt)]
    names = {str(d.node.expr) for d in symbolic}
    if not names:
        return {}
    expr = symbolic[0].node.expr
    if len(names) > 1 or not expr.is_Symbol:
        raise NotEvaluableError(f"{node.name} has sizes {sorted(names)}")
    return {str(expr): length}
