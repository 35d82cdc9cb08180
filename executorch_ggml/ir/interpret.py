"""A numpy interpreter of payloads: the reference that tests compare against. Needs neither torch nor native code.

Memory is modelled as in ggml: views share storage, updates happen in place, and a view must lie inside its source. So
an error in strides or offsets shows here, and not as a crash in native code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels, kernels_2d, kernels_recurrent, kernels_running
from .errors import IrError
from .expr import evaluate
from .memory import Memory
from .serialize import deserialize
from .types import NUMPY, DType, GgmlType, numpy_type

Array = npt.NDArray[Any]
Ne = tuple[int, int, int, int]

_OUTPUT: dict[int, Any] = {
    DType.FLOAT16: np.float16,
    DType.FLOAT32: np.float32,
    DType.BFLOAT16: np.float32,
    DType.INT64: np.int64,
    DType.INT32: np.int32,
    DType.INT16: np.int16,
    DType.INT8: np.int8,
    DType.UINT8: np.uint8,
    DType.BOOL: np.bool_,
}


class Interpreter:
    """Runs one payload.

    Args:
        payload: bytes of a Graph.
        weights: data by key, in torch layout (float arrays; decoded from the file's type).
        compute: float type of the arithmetic (float64 for a reference, float32 to see rounding).

    Attributes:
        states: contents of the state slots by name, kept between runs.
    """

    def __init__(self, payload: bytes, weights: Mapping[str, Array], compute: Any = np.float64) -> None:
        self.graph = deserialize(payload)
        self.weights = weights
        self.compute: np.dtype[Any] = np.dtype(compute)
        self.states: dict[str, Memory] = {}
        self.symbols: list[int] = []
        self.inputs: list[Any] = []

    # ---------------------------------------------------------------- running

    def run(self, inputs: Sequence[Any]) -> list[Array]:
        """Results for arrays (or Python scalars for Int arguments), in the order of the payload's outputs."""
        graph = self.graph
        if len(inputs) != len(graph.inputs or []):
            raise IrError(f"{len(inputs)} inputs for {len(graph.inputs or [])}")
        self.inputs = list(inputs)
        self._bind()
        values: list[Memory] = []
        for index, node in enumerate(graph.nodes or []):
            try:
                values.append(self._node(node, values))
            except IrError as e:
                raise IrError(f"node {index} ({type(node.op).__name__[:-1]}): {e}") from e
        results = []
        for out in graph.outputs or []:
            array = values[out.value].array()
            shape = tuple(self.dim(d) for d in _list(out.dims))
            if array.size != int(np.prod(shape, dtype=np.int64)):
                raise IrError(f"output {_text(out.name)}: {array.shape} is not {shape}")
            results.append(np.ascontiguousarray(array).reshape(shape).astype(_OUTPUT[out.dtype]))
        return results

    def dim(self, encoded: int) -> int:
        """Number of an encoded dimension under the current symbols."""
        encoded = int(encoded)
        if encoded >= 0:
            return encoded
        expr = self.graph.exprs[-1 - encoded]
        return evaluate([(int(c.code), int(c.arg)) for c in expr.code], self.symbols)

    def shape(self, index: int) -> Ne:
        """Four numbers of a shape."""
        ne = [self.dim(d) for d in _list(self.graph.shapes[index].ne)]
        return (ne[0], ne[1], ne[2], ne[3])

    def _bind(self) -> None:
        self.symbols = []
        for symbol in self.graph.symbols or []:
            source = symbol.source
            name = type(source).__name__
            if name == "FromInputDimT":
                value = self._solved(source)
            elif name == "FromInputScalarT":
                value = int(self.inputs[source.input])
            elif name == "FromInputMaxT":
                value = int(np.max(self.inputs[source.input])) + source.add
                step = source.roundTo or 1
                value = min(-(-value // step) * step, symbol.max)
            else:
                raise IrError(f"symbol {_text(symbol.name)} has no source")
            if not symbol.min <= value <= symbol.max:
                raise IrError(f"{_text(symbol.name)} = {value} is outside [{symbol.min}, {symbol.max}]")
            self.symbols.append(value)
        for item, given in zip(self.graph.inputs or [], self.inputs, strict=True):
            if item.kind == 0:
                want = tuple(self.dim(d) for d in _list(item.dims))
                if np.asarray(given).shape != want:
                    raise IrError(f"input {_text(item.name)} has shape {np.asarray(given).shape}, not {want}")

    def _solved(self, source: Any) -> int:
        """Value of the next symbol, s, for which an input's dimension ``a * s + b`` is the one given."""
        actual = int(np.asarray(self.inputs[source.input]).shape[source.dim])
        encoded = self.graph.inputs[source.input].dims[source.dim]
        known = list(self.symbols)
        others = [0] * (len(self.graph.symbols) - len(known) - 1)
        at = []
        for trial in (0, 1):
            self.symbols = [*known, trial, *others]
            at.append(self.dim(encoded))
        self.symbols = known
        value, rest = divmod(actual - at[0], at[1] - at[0])
        if rest:
            raise IrError(f"dimension {source.dim} of input {source.input} is {actual}: no multiple of {at[1] - at[0]}")
        return value

    # ---------------------------------------------------------------- nodes

    def element_type(self, type_number: int) -> np.dtype[Any]:
        """numpy type in which values of a ggml type are held here."""
        kind = GgmlType(type_number)
        # Block types (not in NUMPY) are held as the values they decode to.
        if kind in (GgmlType.F32, GgmlType.BF16, GgmlType.ANY) or kind not in NUMPY:
            return self.compute
        wanted: np.dtype[Any] = numpy_type(kind)
        return wanted

    def _node(self, node: Any, values: list[Memory]) -> Memory:
        op = node.op
        name = type(op).__name__[:-1]
        src = [values[int(i)] for i in _list(node.src)]
        ne = self.shape(node.shape)
        view = self._view(name, op, src, ne)
        if view is not None:
            result = view
        elif name in _LEAVES:
            result = _LEAVES[name](self, op, node, ne)
        else:
            name = snake(name)
            found = (getattr(m, name, None) for m in (kernels, kernels_2d, kernels_recurrent, kernels_running))
            function: Callable[..., Array] | None = next((f for f in found if f), None)
            if function is None:
                raise IrError("no kernel")
            array = function(self, op, [self._floats(s) for s in src], ne)
            result = Memory.of(np.asarray(array, dtype=self.element_type(node.type)), ne)
            if int(node.type) == GgmlType.BF16:
                result = Memory.of(round_bf16(result.array()), ne)
        if result.ne != ne:
            raise IrError(f"computed {result.ne}, declared {ne}")
        return result

    def _floats(self, m: Memory) -> Array:
        array = m.array()
        return array.astype(self.compute) if array.dtype.kind == "f" else array

    def _view(self, name: str, op: Any, src: list[Memory], ne: Ne) -> Memory | None:
        if name == "Reshape":
            return src[0].reshape(ne)
        if name == "View":
            strides = [self.dim(d) for d in _list(op.strides)]
            return src[0].view(ne, (strides[0], strides[1], strides[2], strides[3]), self.dim(op.offset))
        if name == "Permute":
            return src[0].permute([int(a) for a in _list(op.axes)])
        if name == "SetRows":
            return _set_rows(src)
        if name == "Cpy":
            if src[0].ne != src[1].ne:
                raise IrError(f"copies {src[0].ne} into {src[1].ne}")
            src[1].array()[...] = src[0].array()
            return src[1]
        return None


def _set_rows(src: list[Memory]) -> Memory:
    destination, rows, ids = src[0].array(), src[1].array(), src[2].array()
    if ids.shape[0] != 1 or ids.shape[1] != 1 or ids.shape[2] != 1:
        raise IrError("row indices with batch dimensions")
    index = ids.reshape(-1)
    if index.size and (index.min() < 0 or index.max() >= destination.shape[2]):
        raise IrError(f"row index outside [0, {destination.shape[2]})")
    destination[:, :, index, :] = rows
    return src[0]


def round_bf16(x: Array) -> Array:
    """Nearest bfloat16 (ties to even) of each element, as the original type."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).astype(np.uint32)
    return np.asarray(rounded.view(np.float32).astype(x.dtype))


# -------------------------------------------------------------------- leaves


def _input(it: Interpreter, op: Any, node: Any, ne: Ne) -> Memory:
    array = np.asarray(it.inputs[op.input])
    if op.mask:
        array = np.where(array.astype(bool), 0.0, -np.inf)
    wanted = it.element_type(node.type)
    rows = it.dim(op.rows)
    if rows:
        if array.size and (array.min() < (-rows if op.fromEnd else 0) or array.max() >= rows):
            raise IrError(f"numbers outside {rows} rows")
        array = np.where(array < 0, array + rows, array)
    if wanted.kind == "i":
        info = np.iinfo(wanted)
        if array.size and (array.min() < info.min or array.max() > info.max):
            raise IrError(f"values outside {wanted}")
    return Memory.of(array.astype(wanted), ne)


def _weight(it: Interpreter, op: Any, node: Any, ne: Ne) -> Memory:
    slot = it.graph.weights[op.slot]
    parts = []
    for part in slot.parts:
        keys = [_text(k) for k in part.keys]
        key = next((k for k in keys if k in it.weights), None)
        if key is None:
            raise IrError(f"no weight named {' or '.join(keys)}")
        parts.append(np.asarray(it.weights[key]))
    data = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=0)
    if data.size != int(np.prod(ne)):
        raise IrError(f"weight {_text(slot.name)} has {data.shape}, expected {ne} in ggml order")
    return Memory.of(data.astype(it.element_type(node.type)), ne)


def _state(it: Interpreter, op: Any, node: Any, ne: Ne) -> Memory:
    slot = it.graph.states[op.slot]
    name = _text(slot.name)
    if name not in it.states:
        initial = _text(slot.initial)
        shape = tuple(reversed(ne))
        data = np.asarray(it.weights[initial]).reshape(shape) if initial else np.zeros(shape)
        it.states[name] = Memory.of(data.astype(it.element_type(node.type)), ne)
    return it.states[name]


def _constant(it: Interpreter, op: Any, node: Any, ne: Ne) -> Memory:
    constant = it.graph.constants[op.constant]
    raw = np.frombuffer(bytes(bytearray(_list(constant.data))), dtype=numpy_type(GgmlType(constant.type)))
    return Memory.of(raw.astype(it.element_type(node.type)), ne)


_LEAVES: dict[str, Callable[[Interpreter, Any, Any, Ne], Memory]] = {
    "InputLeaf": _input,
    "WeightLeaf": _weight,
    "StateLeaf": _state,
    "ConstLeaf": _constant,
}


def snake(name: str) -> str:
    """A name of the schema as a function is called: ``GetRows`` becomes ``get_rows``."""
    out = name[0].lower()
    for c in name[1:]:
        out += "_" + c.lower() if c.isupper() else c
    return out


def _list(vector: Any) -> list[int]:
    return [] if vector is None else [int(v) for v in vector]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode() if isinstance(value, bytes) else str(value)
