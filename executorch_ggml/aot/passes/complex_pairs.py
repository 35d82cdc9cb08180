"""Complex arithmetic in pairs of real numbers.

Neither ggml nor ExecuTorch computes with complex numbers. Rotary embeddings are often written with them
(`view_as_complex`, `polar`, a table of complex numbers as a buffer), and spectra are complex (`_fourier`). A complex
tensor becomes a real one with one more dimension, the last, of two. torch keeps complex numbers in that layout: views
of them are views of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature
from torch.fx import Node

from ._fourier import FROM_PAIRS, INTO_PAIRS
from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_call, shape, value
from ._pairs import NotKnownError, Pairs, is_complex


def _is_pair_operand(item: object) -> bool:
    return isinstance(item, complex) or is_complex(item)


def _mul(p: Pairs, n: Node) -> Node:
    left, right = args_of(n)[:2]
    if not _is_pair_operand(right):
        return p.call(aten.mul.Tensor, p.pair(left), p.wide(right))
    if not _is_pair_operand(left):
        return p.call(aten.mul.Tensor, p.pair(right), p.wide(left))
    (a, b), (c, d) = p.parts(left), p.parts(right)
    mul, add, sub = aten.mul.Tensor, aten.add.Tensor, aten.sub.Tensor
    real = p.call(sub, p.call(mul, a, c), p.call(mul, b, d))
    return p.join(real, p.call(add, p.call(mul, a, d), p.call(mul, b, c)))


def _div(p: Pairs, n: Node) -> Node:
    left, right = args_of(n)[:2]
    if _is_pair_operand(right):
        raise NotKnownError("division by complex numbers")
    return p.call(aten.div.Tensor, p.pair(left), p.wide(right))


def _sum(p: Pairs, n: Node) -> Node:
    left, right = args_of(n)[:2]
    if argument(n, 2, "alpha", 1) != 1:
        raise NotKnownError("alpha")
    target = aten.add.Tensor if n.target is aten.add.Tensor else aten.sub.Tensor
    if _is_pair_operand(left) and _is_pair_operand(right):
        return p.call(target, p.pair(left), p.pair(right))
    raise NotKnownError("a sum of complex and real numbers")


def _neg(p: Pairs, n: Node) -> Node:
    return p.call(aten.neg.default, p.pair(n.args[0]))


def _conj(p: Pairs, n: Node) -> Node:
    real, imaginary = p.parts(n.args[0])
    return p.join(real, p.call(aten.neg.default, imaginary))


def _same(p: Pairs, n: Node) -> Node:
    return p.pair(n.args[0])


def _copy(p: Pairs, n: Node) -> Node:
    source = n.args[0]
    if not is_complex(source) or value(n).dtype != torch.complex64:
        raise NotKnownError("another type of complex numbers")
    return p.pair(source)


def _polar(p: Pairs, n: Node) -> Node:
    length, angle = args_of(n)[:2]
    mul = aten.mul.Tensor
    real = p.call(mul, length, p.call(aten.cos.default, angle))
    return p.join(real, p.call(mul, length, p.call(aten.sin.default, angle)))


def _complex(p: Pairs, n: Node) -> Node:
    real, imaginary = args_of(n)[:2]
    return p.join(*(p.call(aten.expand.default, x, list(shape(n))) for x in (real, imaginary)))


def _view(p: Pairs, n: Node) -> Node:
    return p.call(aten.view.default, p.pair(n.args[0]), [*_sizes(n.args[1]), 2])


def _expand(p: Pairs, n: Node) -> Node:
    return p.call(aten.expand.default, p.pair(n.args[0]), [*_sizes(n.args[1]), 2])


def _sizes(sizes: Any) -> list[Any]:
    return list(sizes)


def _operand(n: Node) -> Node:
    source = n.args[0]
    if not isinstance(source, Node):
        raise NotKnownError("an operand that is no node")
    return source


def _along(places: int) -> Callable[[Pairs, Node], Node]:
    """An operator in which arguments 1 to ``places`` are dimensions, counted from the front."""

    def lower(p: Pairs, n: Node) -> Node:
        source = _operand(n)
        rank = value(source).dim()
        args: list[Any] = list(n.args)
        if len(args) <= places:
            raise NotKnownError("a dimension by default")
        extra = 1 if n.target is aten.unsqueeze.default else 0
        for i in range(1, places + 1):
            args[i] = dim_index(args[i], rank + extra)
        return p.call(n.target, p.pair(source), *args[1:])

    return lower


def _slice(p: Pairs, n: Node) -> Node:
    source = _operand(n)
    dim = dim_index(argument(n, 1, "dim", 0), value(source).dim())
    names = ((2, "start", None), (3, "end", None), (4, "step", 1))
    rest = [argument(n, i, name, default) for i, name, default in names]
    return p.call(aten.slice.Tensor, p.pair(source), dim, *rest)


def _permute(p: Pairs, n: Node) -> Node:
    source = _operand(n)
    rank = value(source).dim()
    order: Any = n.args[1]
    return p.call(aten.permute.default, p.pair(source), [*(dim_index(d, rank) for d in order), rank])


def _cat(p: Pairs, n: Node) -> Node:
    items: Any = n.args[0]
    dim = dim_index(argument(n, 1, "dim", 0), value(n).dim())
    return p.call(n.target, [p.pair(i) for i in items], dim)


_INTO_PAIRS: dict[Any, Callable[[Pairs, Node], Node]] = {
    aten.mul.Tensor: _mul,
    aten.div.Tensor: _div,
    aten.add.Tensor: _sum,
    aten.sub.Tensor: _sum,
    aten.neg.default: _neg,
    aten._conj.default: _conj,
    aten.conj_physical.default: _conj,
    aten.resolve_conj.default: _same,
    aten.resolve_neg.default: _same,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten.contiguous.default: _same,
    aten._to_copy.default: _copy,
    aten.polar.default: _polar,
    aten.complex.default: _complex,
    aten.view.default: _view,
    aten._unsafe_view.default: _view,
    aten.reshape.default: _view,
    aten.expand.default: _expand,
    aten.unsqueeze.default: _along(1),
    aten.squeeze.dim: _along(1),
    aten.select.int: _along(1),
    aten.index_select.default: _along(1),
    aten.transpose.int: _along(2),
    aten.permute.default: _permute,
    aten.slice.Tensor: _slice,
    aten.cat.default: _cat,
    aten.stack.default: _cat,
    # Indices name leading dimensions: the pairs stay where they are.
    aten.index.Tensor: lambda p, n: p.call(aten.index.Tensor, p.pair(n.args[0]), n.args[1]),
    aten.view_as_complex.default: lambda p, n: _operand(n),
    **INTO_PAIRS,
}


def _abs(p: Pairs, n: Node) -> Node:
    real, imaginary = p.parts(n.args[0])
    mul = aten.mul.Tensor
    squares = p.call(aten.add.Tensor, p.call(mul, real, real), p.call(mul, imaginary, imaginary))
    return p.call(aten.sqrt.default, squares)


_FROM_PAIRS: dict[Any, Callable[[Pairs, Node], Node]] = {
    aten.view_as_real.default: _same,
    aten.real.default: lambda p, n: p.parts(n.args[0])[0],
    aten.imag.default: lambda p, n: p.parts(n.args[0])[1],
    aten.abs.default: _abs,
    aten.angle.default: lambda p, n: p.call(aten.atan2.default, *reversed(p.parts(n.args[0]))),
    **FROM_PAIRS,
}


def complex_to_pairs(ep: ExportedProgram) -> bool:
    """Replaces complex arithmetic, in place; False, and nothing changed, if something is not known.

    Complex arguments and results of the program stay complex.
    """
    calls = [n for n in ep.graph.nodes if is_call(n)]
    odd = [n for n in calls if is_complex(n) or any(is_complex(i) for i in n.all_input_nodes)]
    if not odd or any(is_complex(n) for n in ep.graph.output_node().all_input_nodes):
        return False
    for node in odd:
        table = _INTO_PAIRS if is_complex(node) else _FROM_PAIRS
        if node.target not in table or (is_complex(node) and value(node).dtype != torch.complex64):
            return False
    editor = GraphEditor(ep)
    pairs, results = Pairs(editor), []
    try:
        for node in odd:
            pairs.at = node
            if is_complex(node):
                pairs.of[node] = _INTO_PAIRS[node.target](pairs, node)
            else:
                results.append((node, _FROM_PAIRS[node.target](pairs, node)))
    except NotKnownError:
        editor.graph.eliminate_dead_code()
        return False
    for old, new in results:
        editor.replace(old, new)
    changed = editor.finish()
    _drop_complex_buffers(ep)
    return changed


def _drop_complex_buffers(ep: ExportedProgram) -> None:
    """Those that nothing reads any more: ExecuTorch has no type to write them in."""
    named = {n.name: n for n in ep.graph.nodes if n.op == "placeholder"}
    kept, dropped = [], set()
    for spec in ep.graph_signature.input_specs:
        node = named.get(getattr(spec.arg, "name", ""))
        if node is None or spec.target is None or node.users or not is_complex(node):
            kept.append(spec)
            continue
        dropped.add(spec.target)
        ep.graph.erase_node(node)
    ep._graph_signature = ExportGraphSignature(kept, list(ep.graph_signature.output_specs))
    ep._state_dict = {k: v for k, v in ep.state_dict.items() if k not in dropped}
    ep._constants = {k: v for k, v in ep.constants.items() if k not in dropped}
    ep.graph_module.recompile()
