"""Runs registered lowerings over fx nodes: one at a time for the dry run, a whole partition for the backend."""

from __future__ import annotations

import operator
import os
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Node

from executorch_ggml.ir.builder import Builder, DType, IrError, Kind, Unsupported, Value
from executorch_ggml.ir.dims import probably_same
from executorch_ggml.ir.fuse import fuse_epilogues

from .bounds import is_exact, of_input, of_result
from .fp16_rounding import must_round
from .kv_caches import declare
from .node_view import NodeView, TensorMeta, meta_of, to_dim, to_dtype
from .ops._fp16 import FP16_TYPES, as_stored
from .program_view import ProgramView, WeightOptions, has_data
from .registry import lookup
from .symbols import SymbolBinder

_TORCH = os.path.dirname(torch.__file__) + os.sep

Result = Value | tuple[Value | None, ...] | None


def is_getitem(node: Node) -> bool:
    """Whether a node picks one result of a multi-output node."""
    return node.op == "call_function" and node.target is operator.getitem


def lower_node(builder: Builder, node: Node, values: Mapping[Node, Any], view: ProgramView) -> Result:
    """IR values of one call node.

    Raises:
        Unsupported: no lowering is registered, it refuses, or its result differs from the record of export.
    """
    if is_getitem(node):
        source: Any = node.args[0]
        index: Any = node.args[1]
        parts = values.get(source)
        part = parts[int(index)] if isinstance(parts, tuple) else None
        if not isinstance(part, Value):
            raise Unsupported(f"result {index} of {source} is not computed")
        return part
    known = of_result(node)
    if known is not None and known[0] == known[1] and is_exact(known):
        # A node with one possible value is that number: the segment ids of a lone sentence, a mask that hides nothing.
        meta = meta_of(node.meta["val"])
        return builder.fill(float(known[0]), meta.shape).with_dtype(meta.dtype)
    entry = lookup(node.target)
    if entry is None:
        raise Unsupported("no lowering for this operator")
    builder.debug_handle = _debug_handle(node)
    n = NodeView(node, values, view.constant, lambda v: as_stored(builder, v) if _shows_digits(node, v) else v)
    result = _checked(node, entry.lower(builder, n))
    return _rounded(builder, result) if must_round(node) else result


def _rounded(builder: Builder, result: Result) -> Result:
    """float16 and bfloat16 as torch stores them; a state is memory of its own, and rounded when it is written."""
    if isinstance(result, tuple):
        return tuple(v if v is None else _rounded_one(builder, v) for v in result)
    return result if result is None else _rounded_one(builder, result)


def _rounded_one(builder: Builder, v: Value) -> Value:
    return as_stored(builder, v) if v.dtype in FP16_TYPES and v.kind is Kind.NODE and v.state < 0 else v


def _shows_digits(node: Node, v: Value) -> bool:
    """Whether a node makes something of another type from an fp16 or bfloat16 value that the graph computed.

    A state was rounded when it was written.
    """
    if v.dtype not in FP16_TYPES or v.kind is not Kind.NODE or v.state >= 0:
        return False
    made: Any = node.meta.get("val")
    if isinstance(made, (tuple, list)):
        read = {u.args[1] for u in node.users if is_getitem(u)}
        made = [m for i, m in enumerate(made) if i in read]
    else:
        made = [made]
    return any(isinstance(m, torch.Tensor) and to_dtype(m.dtype) is not v.dtype for m in made)


def _debug_handle(node: Node) -> int:
    handle = node.meta.get("debug_handle", 0)
    if isinstance(handle, (tuple, list)):
        handle = handle[0] if handle else 0
    return int(handle or 0)


def _checked(node: Node, result: Result) -> Result:
    """Compares a lowering's result with the record of export: the last line against a wrong lowering."""
    val = node.meta.get("val")
    if isinstance(val, (tuple, list)):
        if not isinstance(result, tuple) or len(result) != len(val):
            raise IrError(f"{node.target} has {len(val)} results, its lowering gave another number")
        return tuple(None if r is None else _check_one(node, r, meta_of(v)) for r, v in zip(result, val, strict=True))
    if not isinstance(result, Value):
        raise IrError(f"{node.target} gave no value")
    return _check_one(node, result, meta_of(val))


def _check_one(node: Node, value: Value, meta: TensorMeta) -> Value:
    if len(value.shape) != meta.rank or not all(
        probably_same(a, b) for a, b in zip(value.shape, meta.shape, strict=True)
    ):
        raise IrError(f"{node.target}: lowered to shape {list(value.shape)}, export says {list(meta.shape)}")
    if value.dtype is not meta.dtype:
        if value.dtype.is_float != meta.dtype.is_float:
            raise IrError(f"{node.target}: lowered to {value.dtype.name}, export says {meta.dtype.name}")
        value = value.with_dtype(meta.dtype)
    return value


class PartitionLowering:
    """Lowers the exported program of one partition into a builder."""

    def __init__(
        self, ep: ExportedProgram, options: WeightOptions, name: str, may_be_empty: Collection[str] = ()
    ) -> None:
        self.ep = ep
        self.may_be_empty = may_be_empty
        self.builder = Builder(name)
        self.view = ProgramView(ep, options)
        self.states: dict[str, Value] = {}
        self.initial: dict[str, Node] = {}
        self.values: dict[Node, Any] = {}
        self._position: dict[Node, int] = {n: i for i, n in enumerate(ep.graph.nodes)}
        self._current = -1
        self.joined: dict[int, int] = {}
        """Nodes that became part of another: the one that holds their value."""
        self.builder.before_overwrite = self._keep_old
        self.builder.dequantize = options.dequantize
        for key, value in options.expectations.items():
            self.builder.expect(key, value)

    def run(self) -> Builder:
        """The builder, complete with inputs, nodes and outputs."""
        self._placeholders()
        for node in self.ep.graph.nodes:
            self._current = self._position[node]
            if node.op == "call_function":
                if isinstance(node.meta.get("val"), (int, float, bool)) or _is_symbolic_scalar(node):
                    continue
                try:
                    self.values[node] = lower_node(self.builder, node, self.values, self.view)
                except Unsupported as e:
                    raise Unsupported(f"{node.name} ({node.target}): {e}{_where(node)}") from e
            elif node.op == "output":
                self._outputs(node)
            elif node.op not in ("placeholder", "get_attr"):
                raise Unsupported(f"{node.name}: {node.op} nodes")
        self.joined = fuse_epilogues(self.builder.graph)
        return self.builder

    def _placeholders(self) -> None:
        builder = self.builder
        dims: list[tuple[Any, tuple[str, dict[str, int]]]] = []
        scalars: list[tuple[Any, tuple[str, dict[str, int]]]] = []
        specs = {s.arg.name: s for s in self.ep.graph_signature.input_specs if hasattr(s.arg, "name")}
        for node in self.ep.graph.nodes:
            if node.op != "placeholder":
                continue
            spec = specs.get(node.name)
            if spec is None or spec.kind is InputKind.USER_INPUT:
                self._argument(node, dims, scalars)
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                if self.view.is_mutated(node):
                    self._state(node)
                else:
                    self.values[node] = self.view.weight(builder, node, hash_constants=True)
            elif node.users:
                raise Unsupported(f"{node.name}: {spec.kind.name.lower()} inputs")
        SymbolBinder(builder, self.ep.range_constraints, self.may_be_empty).bind([*dims, *scalars])

    def _argument(self, node: Node, dims: list[Any], scalars: list[Any]) -> None:
        val = node.meta.get("val")
        if hasattr(val, "shape"):
            meta = meta_of(val)
            index = len(self.builder.graph.inputs)
            exact = any(is_exact(of_input(user, node)) for user in node.users)
            self.values[node] = self.builder.add_input(node.name, meta.shape, meta.dtype, exact)
            for i, dim in enumerate(meta.shape):
                dims.append((dim, ("FromInputDim", {"input": index, "dim": i})))
            return
        if isinstance(val, bool):
            self.builder.add_scalar_input(node.name, DType.BOOL)
        elif isinstance(val, float) or type(val).__name__ == "SymFloat":
            self.builder.add_scalar_input(node.name, DType.FLOAT64)
        else:
            index = self.builder.add_scalar_input(node.name)
            if val is not None:
                scalars.append((to_dim(val), ("FromInputScalar", {"input": index})))

    def _state(self, node: Node) -> None:
        name = self.view.name_of(node)
        assert name is not None
        meta = meta_of(node.meta["val"])
        tensor = self.view.tensor_of(node)
        initial = ""
        if tensor is not None and has_data(tensor) and bool((tensor != 0).any() | torch.signbit(tensor).any()):
            initial = f"{name}#initial"
            self.initial[initial] = node
        shape = tuple(int(d) for d in meta.shape)
        value = declare(self.builder, name, shape, meta.dtype, self.view.kv_cache(node), initial)
        self.states[name] = value
        self.values[node] = value

    def _outputs(self, node: Node) -> None:
        (results,) = node.args
        specs = self.ep.graph_signature.output_specs
        pairs = list(zip(specs, results, strict=True))  # type: ignore[arg-type]
        for spec, result in pairs:
            if spec.kind is OutputKind.BUFFER_MUTATION:
                state = self.states.get(str(spec.target))
                if state is None:
                    raise Unsupported(f"buffer {spec.target} is changed here but not owned by this delegate")
                value = self._tensor(result)
                if not self._is_in_place(value, state):
                    self.builder.cpy(value, state)
        for spec, result in pairs:
            if spec.kind is OutputKind.BUFFER_MUTATION:
                continue
            if spec.kind is not OutputKind.USER_OUTPUT:
                raise Unsupported(f"{spec.kind.name.lower()} outputs")
            value = self._tensor(result)
            meta = meta_of(result.meta["val"])
            self.builder.add_output(result.name, value, meta.shape, meta.dtype)

    def _is_in_place(self, value: Value, state: Value) -> bool:
        """Whether a value is the state's own memory in its latest version, whole and in order."""
        nodes = self.builder.graph.nodes
        node = nodes[value.node] if value.node >= 0 else None
        declared = nodes[state.node]
        while node is not None and (
            node.op == "Reshape" or (node.op == declared.op == "Permute" and node.attrs == declared.attrs)
        ):
            node = nodes[node.src[0]]
        return node is not None and value.state == state.state and (node.op == "StateLeaf" or node.writes)

    def _tensor(self, node: Any) -> Value:
        value = self.values.get(node)
        if not isinstance(value, Value):
            raise Unsupported(f"output {node} is not a tensor of this partition")
        return value

    def _keep_old(self, slot: int) -> None:
        """Copies values that still read a state's old contents and are needed after the write that comes now."""
        for node, value in list(self.values.items()):
            if isinstance(value, Value) and value.state == slot and self._needed_later(node):
                self.values[node] = self.builder.detach(value)

    def _needed_later(self, node: Node) -> bool:
        return any(user.op == "output" or self._position[user] > self._current for user in node.users)


def _is_symbolic_scalar(node: Node) -> bool:
    return type(node.meta.get("val")).__name__ in ("SymInt", "SymBool", "SymFloat")


def _where(node: Node) -> str:
    line = source_line(node)
    return f" [{line}]" if line else ""


def source_line(node: Node) -> str:
    """``file:line`` of the model's code a node came from, or an empty string.

    The innermost line outside torch: the one that calls ``nn.Linear`` and not the one in it. Where there is none, the
    innermost.
    """
    trace = node.meta.get("stack_trace")
    if not trace:
        return ""
    last = innermost = ""
    for line in str(trace).splitlines():
        line = line.strip()
        if line.startswith('File "'):
            path, _, rest = line[6:].partition('"')
            number = rest.partition("line ")[2].partition(",")[0]
            innermost = f"{path}:{number.strip()}"
            if not path.startswith(_TORCH):
                last = innermost
    return last or innermost
