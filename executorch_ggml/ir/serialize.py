"""Graph -> FlatBuffers bytes, and back to the generated object tree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from . import graph as g
from .bounded import check_size
from .dims import Dim, free_symbols, same, simplify, substitute, to_postfix
from .errors import IrError
from .expr import Postfix
from .layout_check import settle_lower_bounds
from .operators import operator
from .value import fold


def _fbs() -> Any:
    # Generated in the build; imported late so that the package imports without it.
    from . import _ggml_ir

    return _ggml_ir


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


class _Encoder:
    """Tables that are shared by reference: symbols, expressions, shapes."""

    def __init__(self, graph: g.Graph) -> None:
        self.graph = graph
        self.symbols: dict[str, int] = {}
        self.bound: list[g.Symbol] = []
        for symbol in graph.symbols:
            if symbol.source is not None:
                self.symbols[symbol.name] = len(self.bound)
                self.bound.append(symbol)
        self.exprs: dict[Postfix, int] = {}
        self.shapes: dict[tuple[int, ...], int] = {}

    def dim(self, dim: Dim) -> int:
        dim = simplify(dim)
        if not isinstance(dim, int):
            dim = rewrite(dim, self.graph.replacements)
        if isinstance(dim, int):
            return dim
        code = to_postfix(dim, self.symbols)
        return -1 - self.exprs.setdefault(code, len(self.exprs))

    def dims(self, dims: Iterable[Dim]) -> list[int]:
        return [self.dim(d) for d in dims]

    def shape(self, ne: Iterable[Dim]) -> int:
        return self.shapes.setdefault(tuple(self.dims(ne)), len(self.shapes))


def rewrite(dim: Dim, replacements: Iterable[tuple[Any, Any]]) -> Dim:
    """The dimension with each (old, new) replaced in turn."""
    for old, new in replacements:
        if isinstance(dim, int):
            break
        if same(dim, old):
            dim = new
        elif free_symbols(old) & free_symbols(dim):
            dim = substitute(dim, old, new)
    return simplify(dim)


def serialize(graph: g.Graph) -> bytes:
    """The payload of one delegate.

    Raises:
        Unsupported: a dimension that cannot be computed from the inputs.
    """
    import flatbuffers

    fbs = _fbs()
    enc = _Encoder(graph)
    live = graph.live()
    number = {old: new for new, old in enumerate(live)}
    slots = {old: new for new, old in enumerate(graph.used_slots())}
    constants: dict[int, int] = {}
    states: dict[int, int] = {}
    for index in live:
        node = graph.nodes[index]
        if node.op == "ConstLeaf":
            constants.setdefault(node.attrs["constant"], len(constants))
        elif node.op == "StateLeaf":
            states.setdefault(node.attrs["slot"], len(states))
    renumber = {"WeightLeaf": ("slot", slots), "ConstLeaf": ("constant", constants), "StateLeaf": ("slot", states)}

    root = fbs.GraphT()
    nodes = [graph.nodes[i] for i in live]
    root.version, root.producer = fbs.VERSION, graph.producer
    root.minReader = max([fbs.MIN_READER, *(operator(n.op).reader(n.attrs) for n in nodes)])
    root.namespaceKey = graph.name
    root.inputs = [_input(fbs, enc, item) for item in graph.inputs]
    root.nodes = [_node(fbs, enc, node, number, renumber) for node in nodes]
    root.outputs = [_output(fbs, enc, item, number) for item in graph.outputs]
    root.weights = [_weight(fbs, enc, graph, graph.slots[i]) for i in slots]
    root.states = [_state(fbs, enc, graph.states[i]) for i in states]
    root.constants = [_constant(fbs, enc, graph.constants[i]) for i in constants]
    root.symbols = [_symbol(fbs, symbol) for symbol in enc.bound]
    root.expectations = [_expectation(fbs, key, value) for key, value in sorted(graph.expectations.items())]
    root.exprs = [_expr(fbs, code) for code in enc.exprs]
    root.shapes = [_shape(fbs, ne) for ne in enc.shapes]
    settle_lower_bounds(root, [symbol.least for symbol in enc.bound])
    for symbol, item in zip(enc.bound, root.symbols, strict=True):
        if symbol.may_be_empty and item.min == 1:
            item.min = 0
    builder = flatbuffers.Builder(64 * (len(live) + 16))
    builder.Finish(root.Pack(builder), b"GGIR")
    return bytes(builder.Output())


def deserialize(data: bytes) -> Any:
    """The generated ``GraphT`` of a payload from anywhere.

    Raises:
        IrError: no payload of ours, a damaged one, or one that would decode into more than it has bytes.
    """
    if len(data) < 8 or data[4:8] != b"GGIR":
        raise IrError("not a GGIR payload")
    fbs = _fbs()
    try:
        root = fbs.Graph.GetRootAs(data, 0)
        check_size(root, len(data))
        return fbs.GraphT.InitFromObj(root)
    except IrError:
        raise
    except Exception as error:  # offsets that lead outside end in errors of struct and numpy
        raise IrError(f"the payload is damaged: {error}") from error


def _input(fbs: Any, enc: _Encoder, item: g.Input) -> Any:
    t = fbs.InputT()
    t.name, t.kind, t.dtype, t.dims = item.name, item.kind, int(item.dtype), enc.dims(item.shape)
    return t


def _output(fbs: Any, enc: _Encoder, item: g.Output, number: dict[int, int]) -> Any:
    t = fbs.OutputT()
    t.name, t.value, t.dtype, t.dims = item.name, number[item.node], int(item.dtype), enc.dims(item.shape)
    return t


def _node(
    fbs: Any, enc: _Encoder, node: g.Node, number: dict[int, int], renumber: dict[str, tuple[str, dict[int, int]]]
) -> Any:
    t = fbs.NodeT()
    op = getattr(fbs, node.op + "T")()
    attrs = dict(node.attrs)
    if node.op in renumber:
        name, mapping = renumber[node.op]
        attrs[name] = mapping[attrs[name]]
    if node.op == "View":
        attrs = {"strides": enc.dims(attrs["stride"]), "offset": enc.dim(attrs["offset"])}
    if "rows" in attrs:
        attrs["rows"] = enc.dim(attrs["rows"])
    for name, value in attrs.items():
        field = _camel(name)
        if not hasattr(op, field):
            raise AttributeError(f"{node.op} has no field {field}")
        if isinstance(value, g.Epilogue):
            value = _epilogue(fbs, value)
        setattr(op, field, list(value) if isinstance(value, tuple) else value)
    t.opType, t.op = getattr(fbs.Op, node.op), op
    t.src = [number[s] for s in node.src]
    t.type, t.shape, t.debugHandle = int(node.type), enc.shape(node.ne), node.debug_handle
    return t


def _epilogue(fbs: Any, item: g.Epilogue) -> Any:
    t = fbs.EpilogueT()
    t.activation, t.min, t.max = int(item.activation), item.min, item.max
    return t


def _weight(fbs: Any, enc: _Encoder, graph: g.Graph, slot: g.WeightSlot) -> Any:
    weight = graph.weights[slot.weight]
    t = fbs.WeightSlotT()
    t.name, t.usage, t.type, t.cast = weight.name, slot.usage, int(slot.type), int(slot.cast)
    t.shape = enc.shape(fold(weight.shape))
    t.parts = []
    for keys in weight.parts:
        part = fbs.WeightPartT()
        part.keys = list(keys)
        t.parts.append(part)
    return t


def _state(fbs: Any, enc: _Encoder, state: g.State) -> Any:
    t = fbs.StateSlotT()
    t.name, t.type, t.kind, t.initial = state.name, int(state.type), state.kind, state.initial
    t.shape = enc.shape(fold(state.shape))
    return t


def _constant(fbs: Any, enc: _Encoder, constant: g.Constant) -> Any:
    t = fbs.ConstantT()
    t.shape, t.type = enc.shape(constant.ne), int(constant.type)
    t.data = np.frombuffer(g.as_bytes(constant.data), dtype=np.uint8)
    return t


def _symbol(fbs: Any, symbol: g.Symbol) -> Any:
    assert symbol.source is not None
    kind, attrs = symbol.source
    t = fbs.SymbolT()
    t.name, t.min, t.max = symbol.name, symbol.min, symbol.max
    source = getattr(fbs, kind + "T")()
    for name, value in attrs.items():
        setattr(source, _camel(name), value)
    t.sourceType, t.source = getattr(fbs.SymbolSource, kind), source
    return t


def _expectation(fbs: Any, key: str, value: str) -> Any:
    t = fbs.ExpectationT()
    t.key, t.value = key, value
    return t


def _expr(fbs: Any, code: Postfix) -> Any:
    t = fbs.ExprT()
    t.code = []
    for op, arg in code:
        item = fbs.ExprOpT()
        item.code, item.arg = op, arg
        t.code.append(item)
    return t


def _shape(fbs: Any, ne: tuple[int, ...]) -> Any:
    t = fbs.ShapeT()
    t.ne = list(ne)
    return t
