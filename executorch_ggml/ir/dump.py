"""A payload as text, one line per node. Needs neither torch nor native code."""

from __future__ import annotations

from typing import Any

from executorch_ggml.errors.printable import printable

from .expr import render
from .graph import Activation
from .serialize import deserialize
from .types import dtype_name, type_name


def dump(payload: bytes) -> str:
    """The whole graph: symbols, inputs, weights, states, nodes, outputs.

    Shapes are in torch order (slowest dimension first), leading ones dropped. Raises IrError for bytes that are no
    payload.
    """
    return "\n".join(_Dumper(deserialize(payload)).lines())


class _Dumper:
    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.names = [_text(s.name) for s in graph.symbols or []]

    def lines(self) -> list[str]:
        g = self.graph
        out = [f"graph {_text(g.namespaceKey)!r}: version {g.version} by {_text(g.producer)}"]
        out += [self._symbol(s) for s in g.symbols or []]
        for i, item in enumerate(g.inputs or []):
            kind = ("tensor", "int", "double", "bool")[item.kind] if 0 <= item.kind < 4 else "?"
            shape = f" {dtype_name(item.dtype)}{self._dims(item.dims)}" if item.kind == 0 else ""
            out.append(f"input {i}: {_text(item.name)} {kind}{shape}")
        for i, slot in enumerate(g.weights or []):
            usage = ("matmul", "rows", "elementwise")[slot.usage] if 0 <= slot.usage < 3 else "?"
            keys = " ++ ".join("|".join(_text(k) for k in part.keys or []) for part in slot.parts or [])
            cast = "" if slot.cast == 255 else f" as {type_name(slot.cast)}"
            kind = "any" if slot.type == 255 else type_name(slot.type)
            out.append(f"weight {i}: {keys} {kind}{self._shape(slot.shape)}{cast}, {usage}")
        for i, state in enumerate(g.states or []):
            kind = "kv cache" if state.kind == 1 else "state"
            initial = f", starts as {_text(state.initial)}" if state.initial else ""
            out.append(
                f"state {i}: {_text(state.name)} {type_name(state.type)}{self._shape(state.shape)} {kind}{initial}"
            )
        for i, constant in enumerate(g.constants or []):
            size = 0 if constant.data is None else len(constant.data)
            out.append(f"constant {i}: {type_name(constant.type)}{self._shape(constant.shape)}, {size} bytes")
        out += [self._node(i, n) for i, n in enumerate(g.nodes or [])]
        for i, item in enumerate(g.outputs or []):
            out.append(f"output {i}: %{item.value} {_text(item.name)} {dtype_name(item.dtype)}{self._dims(item.dims)}")
        out += [f"expects {_text(e.key)} = {_text(e.value)}" for e in g.expectations or []]
        return out

    def _symbol(self, symbol: Any) -> str:
        s = symbol.source
        kind = type(s).__name__
        if kind == "FromInputDimT":
            source = f"dimension {s.dim} of input {s.input}"
        elif kind == "FromInputMaxT":
            rounding = f", rounded up to {s.roundTo}" if s.roundTo else ", rounded as the device likes"
            source = f"max of input {s.input} + {s.add}{rounding}"
        elif kind == "FromInputScalarT":
            source = f"input {s.input}"
        else:
            source = "?"
        return f"symbol {_text(symbol.name)} in [{symbol.min}, {symbol.max}] = {source}"

    def _node(self, index: int, node: Any) -> str:
        name = type(node.op).__name__.removesuffix("T") if node.op is not None else "?"
        attrs = []
        for key, value in sorted(vars(node.op).items()) if node.op is not None else ():
            if key in ("offset", "strides"):
                value = self._dim(int(value)) if key == "offset" else self._dims(value)
            elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
                value = [int(v) for v in value]
            elif isinstance(value, float):
                value = f"{value:.9g}"
            elif key == "then":
                if value is None:
                    continue
                value = self._epilogue(value)
            attrs.append(f"{key}={value}")
        sources = [] if node.src is None else [f"%{int(s)}" for s in node.src]
        kind = "any" if node.type == 255 else type_name(node.type)
        handle = f"  #{node.debugHandle}" if node.debugHandle else ""
        return f"%{index} = {name}({', '.join([*sources, *attrs])}) {kind}{self._shape(node.shape)}{handle}"

    def _epilogue(self, then: Any) -> str:
        parts = [Activation(then.activation).name.lower()] if then.activation else []
        if (then.min, then.max) != (float("-inf"), float("inf")):
            parts.append(f"clamp {then.min:.9g}..{then.max:.9g}")
        return " then ".join(parts) or "nothing"

    def _dim(self, encoded: int) -> str:
        encoded = int(encoded)
        if encoded >= 0:
            return str(encoded)
        exprs = self.graph.exprs or []
        if -1 - encoded >= len(exprs):
            return "?"
        text = render([(int(c.code), int(c.arg)) for c in exprs[-1 - encoded].code or []], self.names)
        return text[1:-1] if text.startswith("(") else text

    def _dims(self, dims: Any) -> str:
        return "[" + ", ".join(self._dim(d) for d in ([] if dims is None else dims)) + "]"

    def _shape(self, index: int) -> str:
        shapes = self.graph.shapes or []
        if not 0 <= index < len(shapes) or shapes[index].ne is None:
            return "[?]"
        dims = [self._dim(d) for d in shapes[index].ne][::-1]
        while len(dims) > 1 and dims[0] == "1":
            dims.pop(0)
        return "[" + ", ".join(dims) + "]"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return printable(value.decode(errors="replace") if isinstance(value, bytes) else value, one_line=True)
