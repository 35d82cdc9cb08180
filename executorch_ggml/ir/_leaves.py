"""Builder, part 1: emission of nodes, and leaves (inputs, weights, states, constants)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import graph as g
from .dims import INT64_MAX, Dim, Shape, same_shape, shape_of, simplify, static_shape
from .errors import IrError, Unsupported
from .operators import operator
from .types import STORAGE, DType, GgmlType, numpy_type
from .value import Kind, Ne, Value, contiguous_strides, fold

# Literals up to this many bytes lie in the graph itself; bigger ones are named weights.
INLINE_LIMIT = 4096
INLINE_IDS_LIMIT = 1 << 20
"""Bytes. Row numbers must be in the payload, where the loader sees that they lie inside their table."""


class Leaves:
    """Emission of nodes with common-subexpression elimination, and every kind of leaf."""

    def __init__(self, name: str = "") -> None:
        self.graph = g.Graph(name=name)
        self.debug_handle = 0
        self.before_overwrite: Callable[[int], None] | None = None
        """Called with a state slot just before its memory changes, so that the owner of live values that read the
        old contents can copy them (``detach``)."""
        self.dequantize = False
        """Weights of matrix products whose type the file decides are converted to F32 when they are loaded."""
        self._cse: dict[Any, int] = {}

    # ---------------------------------------------------------------- emission

    def _emit(
        self,
        op: str,
        src: Sequence[Value],
        shape: Shape,
        *,
        dtype: DType,
        type: GgmlType = GgmlType.F32,
        ne: Ne | None = None,
        strides: Ne | None = None,
        state: int = -1,
        **attrs: Any,
    ) -> Value:
        """Appends a node (or finds an identical pure one) and returns its value."""
        facts = operator(op)
        if not facts.least <= len(src) <= facts.most:
            raise IrError(f"{op} of {len(src)} sources, expected {facts.least}..{facts.most}")
        for s in src:
            if s.kind is not Kind.NODE:
                raise IrError(f"{op} reads a value whose storage is not decided yet")
        ne = fold(shape) if ne is None else ne
        strides = contiguous_strides(ne) if strides is None else strides
        key = (op, tuple(s.node for s in src), type, ne, _hashable(attrs))
        # A node that writes must run once for each time that it was asked for.
        index = None if facts.writes else self._cse.get(key)
        if index is None:
            index = len(self.graph.nodes)
            sources = tuple(s.node for s in src)
            self.graph.nodes.append(g.Node(op, sources, type, ne, attrs, strides, self.debug_handle, state))
            self._cse[key] = index
        return Value(Kind.NODE, shape_of(shape), dtype, type, ne, strides, node=index, state=state)

    # ---------------------------------------------------------------- inputs

    def add_input(self, name: str, shape: Shape, dtype: DType, exact: bool = False) -> Value:
        """A tensor argument of the delegate (torch shape and type). How it is stored is decided by its first reader.

        ``exact``: the values of an integer argument are known to stay within the range of F32.
        """
        shape = shape_of(shape)
        self.graph.inputs.append(g.Input(name, 0, dtype, shape, exact))
        ne = fold(shape)
        ref = len(self.graph.inputs) - 1
        return Value(Kind.INPUT, shape, dtype, GgmlType.ANY, ne, contiguous_strides(ne), ref=ref)

    def add_scalar_input(self, name: str, dtype: DType = DType.INT64) -> int:
        """A Python scalar argument of the delegate (int, float or bool); returns its index."""
        kind = {DType.INT64: 1, DType.FLOAT64: 2, DType.BOOL: 3}.get(dtype)
        if kind is None:
            raise IrError(f"{name}: a scalar argument cannot be {dtype.name}")
        self.graph.inputs.append(g.Input(name, kind, dtype, ()))
        return len(self.graph.inputs) - 1

    def is_exact_input(self, v: Value) -> bool:
        """Whether F32 holds every value of an undecided input that is not of a float type."""
        narrow = v.dtype in (DType.BOOL, DType.UINT8, DType.INT8, DType.INT16)
        return v.kind is Kind.INPUT and (narrow or self.graph.inputs[v.ref].exact)

    def input_leaf(self, v: Value, type: GgmlType, mask: bool = False) -> Value:
        """The contents of an undecided input, converted to ``type`` on upload; ``mask``: false/true become -inf/0."""
        return self._input_leaf(v, type, mask=mask)

    def row_numbers(self, v: Value, rows: Dim, from_end: bool, type: GgmlType = GgmlType.I32) -> Value:
        """Numbers of ``rows`` rows from an undecided integer input: a call with another number is refused.

        ``from_end``: -1 is the last row, and is ``rows - 1`` in the graph, and so on.
        """
        return self._input_leaf(v, type, mask=False, rows=simplify(rows), from_end=from_end)

    def _input_leaf(self, v: Value, type: GgmlType, **attrs: Any) -> Value:
        if v.kind is not Kind.INPUT:
            raise IrError("input_leaf of a value that is not an input")
        declared = self.graph.inputs[v.ref].shape
        leaf = self._emit("InputLeaf", (), declared, dtype=v.dtype, type=type, input=v.ref, **attrs)
        return self._as_shape(leaf, v.shape)

    def _as_shape(self, v: Value, shape: Shape) -> Value:
        """A dense value read with another torch shape of as many elements."""
        shape = shape_of(shape)
        ne = fold(shape)
        if same_shape(ne, v.ne):
            return v.with_shape(shape)
        strides = contiguous_strides(ne)
        if v.kind is not Kind.NODE:
            return Value(v.kind, shape, v.dtype, v.type, ne, strides, ref=v.ref)
        source = v
        # A reshape of a reshape is a reshape of the first source.
        while self.graph.nodes[source.node].op == "Reshape":
            base = self.graph.nodes[source.node].src[0]
            n = self.graph.nodes[base]
            source = Value(Kind.NODE, shape, v.dtype, n.type, n.ne, n.strides, node=base, state=n.state)
        if same_shape(ne, source.ne):
            return Value(Kind.NODE, shape, v.dtype, v.type, ne, strides, node=source.node, state=v.state)
        return self._emit("Reshape", (source,), shape, dtype=v.dtype, type=v.type, state=v.state)

    # ---------------------------------------------------------------- symbols

    def declare_symbol(
        self,
        name: str,
        minimum: int = 0,
        maximum: int = INT64_MAX,
        source: tuple[str, dict[str, int]] | None = None,
        least: int | None = None,
        may_be_empty: bool = False,
    ) -> int:
        """A named dimension with inclusive bounds. A second declaration may add the source, never change it.

        ``least``: a smaller minimum, which takes the place of ``minimum`` if the finished graph holds there.
        ``may_be_empty``: 0 is a value too, if the graph holds from 1 on.
        """
        for index, symbol in enumerate(self.graph.symbols):
            if symbol.name == name:
                if source is not None and symbol.source is None:
                    symbol.source = source
                elif source is not None and source != symbol.source:
                    raise IrError(f"symbol {name} is bound twice")
                return index
        self.graph.symbols.append(g.Symbol(name, minimum, maximum, source, least, may_be_empty))
        return len(self.graph.symbols) - 1

    def symbol_from_max(
        self, positions: Value, *, add: int, round_to: int, minimum: int, maximum: int, name: str = ""
    ) -> Dim:
        """A dimension that the runtime computes from the values of an integer input.

        Args:
            positions: an undecided int32/int64 input (or a reshape of one).
            add, round_to: ``min(round_up(max(values) + add, round_to), maximum)``; round_to 0 lets the runtime choose.
        Raises:
            Unsupported: the values are computed inside the graph, so the host cannot see them beforehand.
        """
        import sympy

        if positions.kind is not Kind.INPUT or not positions.dtype.is_integer:
            raise Unsupported("the length can only follow from an integer input of the delegate")
        name = name or f"max{positions.ref}_{add}_{round_to}_{maximum}"
        attrs = {"input": positions.ref, "add": add, "round_to": round_to}
        self.declare_symbol(name, minimum, maximum, ("FromInputMax", attrs))
        return sympy.Symbol(name, positive=True, integer=True)

    # ---------------------------------------------------------------- weights

    def add_weight(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DType,
        *,
        keys: Sequence[Sequence[str]] | None = None,
        external: bool = False,
        load: Callable[[], g.Array] | None = None,
    ) -> Value:
        """A parameter, buffer or lifted constant.

        Args:
            name: fully qualified name, used in messages and as the key unless ``keys`` are given.
            shape: torch shape, literal.
            dtype: torch type of the exported tensor.
            keys: one list of alternative keys per part; several parts are concatenated along dimension 0.
            external: the data is not in the ``.pte`` and the file decides the storage type.
            load: gives the data (float32 or the integer type); None when it is not at hand.
        """
        dims = tuple(int(d) for d in shape)
        storage = GgmlType.ANY if external and dtype.is_float else STORAGE.get(dtype, GgmlType.ANY)
        parts = [list(k) for k in keys] if keys else [[name]]
        self.graph.weights.append(g.Weight(name, parts, dims, dtype, storage, load))
        ne = fold(dims)
        ref = len(self.graph.weights) - 1
        return Value(Kind.WEIGHT, dims, dtype, storage, ne, contiguous_strides(ne), ref=ref)

    def weight_leaf(self, v: Value, usage: int, cast: GgmlType = GgmlType.ANY) -> Value:
        """The leaf that reads an undecided weight in one way (``graph.MATMUL``, ``ROWS``, ``ELEMENTWISE``)."""
        if v.kind is not Kind.WEIGHT or v.swapped:
            raise IrError("weight_leaf of a value that is not a plain weight")
        weight = self.graph.weights[v.ref]
        if self.dequantize and usage == g.MATMUL and weight.type is GgmlType.ANY:
            cast = GgmlType.F32
        if cast is weight.type:
            cast = GgmlType.ANY
        slot = g.WeightSlot(v.ref, usage, weight.type, cast)
        index = next((i for i, s in enumerate(self.graph.slots) if s == slot), -1)
        if index < 0:
            self.graph.slots.append(slot)
            index = len(self.graph.slots) - 1
        stored = weight.type if cast is GgmlType.ANY else cast
        leaf = self._emit("WeightLeaf", (), weight.shape, dtype=v.dtype, type=stored, slot=index)
        return self._as_shape(leaf, v.shape)

    def data_of(self, v: Value) -> g.Array | None:
        """The elements of an embedded weight (torch layout), or None when they are not at hand."""
        if v.kind is not Kind.WEIGHT:
            return None
        weight = self.graph.weights[v.ref]
        if weight.load is None or weight.packed or weight.replaceable:
            return None
        data = weight.load()
        shape = static_shape(v.shape, "weight")
        if v.swapped:
            data = data.reshape(*shape[:-2], shape[-1], shape[-2])
            return np.asarray(data.swapaxes(-1, -2))
        return data.reshape(shape)

    def has_data(self, v: Value) -> bool:
        """Whether ``data_of`` would give something (without loading it)."""
        weight = self.graph.weights[v.ref] if v.kind is Kind.WEIGHT else None
        return weight is not None and weight.load is not None and not (weight.packed or weight.replaceable)

    def packed_weight(self, data: Value, shape: Sequence[int], dtype: DType, type: GgmlType) -> Value:
        """A float weight made of the bytes of an undecided uint8 weight: blocks of a ggml type already."""
        source = self.graph.weights[data.ref]
        key = source.parts[0][0]
        name = key if source.load is None else f"{key}#{type.name.lower()}"
        dims = tuple(int(d) for d in shape)
        known = [r for r, w in enumerate(self.graph.weights) if (w.name, w.shape, w.dtype) == (name, dims, dtype)]
        ref = known[0] if known else len(self.graph.weights)
        if not known:
            self.graph.weights.append(g.Weight(name, [[name]], dims, dtype, type, source.load, packed=True))
        ne = fold(dims)
        return Value(Kind.WEIGHT, dims, dtype, type, ne, contiguous_strides(ne), ref=ref)

    def derive_weight(
        self, tag: str, sources: Sequence[Value], shape: Sequence[int], compute: Callable[..., g.Array]
    ) -> Value | None:
        """A float32 weight computed ahead of time from embedded ones (transposed, folded), stored as its own entry.

        ``compute`` gets the arrays of ``sources`` when the payload is written, not before. None when some source has
        no data here: the caller then emits graph operations instead.
        """
        if not sources or not all(self.has_data(s) for s in sources):
            return None
        names = "+".join(self.graph.weights[s.ref].name for s in sources)
        name = f"{names}#{tag}"
        for ref, known in enumerate(self.graph.weights):
            if known.name == name and known.shape == tuple(shape):
                ne = fold(known.shape)
                return Value(Kind.WEIGHT, known.shape, DType.FLOAT32, GgmlType.F32, ne, contiguous_strides(ne), ref=ref)
        held = list(sources)

        def load() -> g.Array:
            arrays = [self.data_of(s) for s in held]
            dense = np.ascontiguousarray(compute(*arrays), dtype=np.float32).reshape(tuple(shape))
            # A dimension of one that was turned round is dense to numpy, and unreadable to torch.
            return dense if min(dense.strides, default=0) >= 0 else dense.copy()

        return self.add_weight(name, shape, DType.FLOAT32, load=load)

    # ---------------------------------------------------------------- states and constants

    def add_state(self, name: str, shape: Sequence[int], dtype: DType, kind: int, initial: str = "") -> Value:
        """A mutable buffer owned by the delegate; the value is its memory, in place.

        A KV cache is declared F16 (the session's cache_type replaces that); other states keep float data as F32.
        """
        dims = tuple(int(d) for d in shape)
        if len(dims) > 4:
            raise Unsupported(f"state {name} has {len(dims)} dimensions; a state has at most 4")
        if kind == g.KV_CACHE:
            stored = GgmlType.F16
        elif dtype.is_float:
            stored = GgmlType.F32
        else:
            raise Unsupported(f"state {name} is {dtype.name.lower()}; only float states can be delegated")
        index = next((i for i, s in enumerate(self.graph.states) if s.name == name), -1)
        if index < 0:
            self.graph.states.append(g.State(name, dims, stored, kind, initial))
            index = len(self.graph.states) - 1
        return self._emit("StateLeaf", (), dims, dtype=dtype, type=stored, state=index, slot=index)

    def is_kv_cache(self, v: Value) -> bool:
        """Whether a value is (a view of) a KV cache: the session chooses its storage type."""
        return v.state >= 0 and self.graph.states[v.state].kind == g.KV_CACHE

    def constant(self, data: g.Array, dtype: DType = DType.FLOAT32, type: GgmlType = GgmlType.F32) -> Value:
        """A literal tensor (torch shape = array shape); beyond 4 kB it becomes a weight named by its content.

        Raises:
            Unsupported: more than a MiB of integers that stay integers.
        """
        array = np.array(data, dtype=numpy_type(type), order="C")  # ascontiguousarray would give rank 0 a dimension
        shape = tuple(int(d) for d in array.shape)
        if type is GgmlType.I32 and array.nbytes > INLINE_IDS_LIMIT:
            raise Unsupported(f"{array.size} constant row numbers, more than the limit of {INLINE_IDS_LIMIT // 4}")
        if array.nbytes > INLINE_LIMIT and type is not GgmlType.I32:
            digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
            v = self.add_weight(f"_constant.{digest}", shape, dtype, load=lambda: array)
            return self.weight_leaf(v, g.ELEMENTWISE, type)
        found = [
            i
            for i, known in enumerate(self.graph.constants)
            if known.type is type and known.data.shape == shape and known.data.tobytes() == array.tobytes()
        ]
        index = found[0] if found else len(self.graph.constants)
        if not found:
            self.graph.constants.append(g.Constant(array, type, fold(shape)))
        return self._emit("ConstLeaf", (), shape, dtype=dtype, type=type, constant=index)

    def fill(self, value: float, shape: Shape) -> Value:
        """A float32 tensor of one value."""
        return self._emit("Fill", (), shape_of(shape), dtype=DType.FLOAT32, value=float(value))


def _hashable(attrs: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((k, _told_apart(v)) for k, v in attrs.items()))


def _told_apart(v: Any) -> Any:
    """0.0 and -0.0 are equal to Python, and other numbers to a graph; a NaN is none to Python, and one to a graph."""
    if isinstance(v, list):
        return tuple(_told_apart(x) for x in v)
    return v.hex() if isinstance(v, float) else v
