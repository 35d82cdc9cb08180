"""Editing the graph of an exported program: new nodes, constants, and a signature that stays true.

The passes work on a functional ATen graph (no operator mutates its arguments). Every new node gets a `val` computed
on fake tensors and the provenance of the node it stands for, so that source lines survive into debug handles.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard

import torch
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    ExportGraphSignature,
    InputKind,
    InputSpec,
    SymIntArgument,
    TensorArgument,
)
from torch.fx import Node

aten = torch.ops.aten

Dim = int | torch.SymInt

_PROVENANCE = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def is_call(node: object, *targets: object) -> TypeGuard[Node]:
    """Whether this is a node that calls one of the given operators (any operator if none is given)."""
    return isinstance(node, Node) and node.op == "call_function" and (not targets or node.target in targets)


def value(node: Node) -> torch.Tensor:
    """The fake tensor a node stands for.

    Raises:
        TypeError: the node is not a single tensor.
    """
    val = node.meta.get("val")
    if not isinstance(val, torch.Tensor):
        raise TypeError(f"{node.name} is not a tensor")
    return val


def is_tensor(node: object) -> TypeGuard[Node]:
    """Whether this is a node that stands for one tensor."""
    return isinstance(node, Node) and isinstance(node.meta.get("val"), torch.Tensor)


def shape(node: Node) -> tuple[Dim, ...]:
    """Shape of a tensor node; symbolic sizes are SymInts."""
    return tuple(value(node).shape)


def is_delegable(node: object) -> TypeGuard[Node]:
    """Whether this is a tensor of a type that the backend computes with.

    An operator of ours on any other type (float64) could not be delegated, and ExecuTorch has no kernel for it.
    """
    return is_tensor(node) and value(node).dtype in (torch.float32, torch.float16, torch.bfloat16)


def same_dim(left: object, right: object) -> bool:
    """Whether two sizes are equal for every value of their symbols, without adding a guard."""
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    if isinstance(left, torch.SymInt) and isinstance(right, torch.SymInt):
        return bool(left.node.expr == right.node.expr)
    return False


def same_shape(left: Sequence[object], right: Sequence[object]) -> bool:
    """Whether two shapes are equal for every value of their symbols."""
    return len(left) == len(right) and all(same_dim(a, b) for a, b in zip(left, right, strict=True))


def dim_index(dim: Any, rank: int) -> int:
    """A dimension counted from the front."""
    return int(dim) + rank if dim < 0 else int(dim)


def args_of(node: Node) -> tuple[Any, ...]:
    """Positional arguments of any kind."""
    return node.args


def argument(node: Node, index: int, name: str, default: object = None) -> Any:
    """An argument of a call, whether given by position or by name."""
    if index < len(node.args):
        return node.args[index]
    return node.kwargs.get(name, default)


def is_functional(ep: ExportedProgram) -> bool:
    """Whether no node mutates its arguments and no region is wrapped in a higher order operator."""
    for node in ep.graph.nodes:
        if node.op == "get_attr":
            return False
        if isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable:
            return False
    return True


def _must_stay(node: Node) -> bool:
    """Whether a node has an effect besides its value.

    fx keeps everything that may draw random numbers, attention (dropout) among them; without dropout it draws none.
    """
    if node.op == "call_function" and node.target == aten.scaled_dot_product_attention.default:
        return bool(argument(node, 4, "dropout_p", 0.0))
    return bool(node.is_impure())


class GraphEditor:
    """One pass's changes to an exported program, in place.

    Insert with `call`, replace with `replace`, and leave through `finish`, which removes dead nodes and makes the
    signature agree with the graph. `changed` tells whether anything was done.
    """

    def __init__(self, ep: ExportedProgram) -> None:
        self.ep = ep
        self.graph = ep.graph
        self.changed = False
        self._fake_mode = detect_fake_mode([n.meta.get("val") for n in ep.graph.nodes if n.op == "placeholder"])
        self._inputs = {
            spec.arg.name: spec for spec in ep.graph_signature.input_specs if isinstance(spec.arg, TensorArgument)
        }
        self._mutated = set(ep.graph_signature.buffers_to_mutate.values())

    # ------------------------------------------------------------------ constants

    def constant(self, node: object) -> torch.Tensor | None:
        """The data of a parameter, a buffer nobody mutates or a lifted constant; None for anything else.

        Weights on the meta device and fake tensors have no data: None.
        """
        if not isinstance(node, Node) or node.op != "placeholder":
            return None
        spec = self._inputs.get(node.name)
        if spec is None or spec.target is None or spec.target in self._mutated:
            return None
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            return None
        data = self.ep.state_dict.get(spec.target)
        if data is None:
            data = self.ep.constants.get(spec.target)
        if not isinstance(data, torch.Tensor) or isinstance(data, FakeTensor) or data.is_meta:
            return None
        return data.detach()

    def is_mutated_buffer(self, node: object) -> bool:
        """Whether a placeholder is a buffer that this program writes."""
        if not isinstance(node, Node) or node.op != "placeholder":
            return False
        spec = self._inputs.get(node.name)
        return spec is not None and spec.kind == InputKind.BUFFER and spec.target in self._mutated

    def scalar(self, item: object) -> float | None:
        """A number written in the graph: a Python number or a constant of one element."""
        if isinstance(item, bool):
            return None
        if isinstance(item, (int, float)):
            return float(item)
        data = self.constant(item)
        return float(data.item()) if data is not None and data.numel() == 1 else None

    def target_of(self, node: Node) -> str:
        """Fully qualified name of the parameter or buffer that a placeholder stands for."""
        return str(self._inputs[node.name].target)

    def add_constant(self, data: torch.Tensor, name: str, device: torch.device | None = None) -> Node:
        """A placeholder for new constant data; equal data under one name is added once.

        Its data is on the CPU, also if the program believes it to be elsewhere (that of a model without data: meta).
        """
        data = data.detach().cpu().contiguous()
        raw = data.reshape(-1).view(torch.uint8).numpy().tobytes()
        digest = hashlib.sha256(repr((data.dtype, tuple(data.shape))).encode() + raw).hexdigest()[:12]
        target = f"_ggml_{name}_{digest}"
        known = self._placeholder(target)
        if known is None:
            known = self._add_input(InputKind.BUFFER, target, data, persistent=False)
            self.ep.constants[target] = data
            if device is not None and device != data.device:
                known.meta["val"] = known.meta["val"].to(device)
        return known

    def add_parameter(self, data: torch.Tensor, target: str) -> Node:
        """A placeholder for a new parameter under a name that is not taken yet (a number is appended if it is)."""
        base, number = target, 1
        while self._placeholder(target) is not None:
            number += 1
            target = f"{base}{number}"
        data = data.detach().contiguous()
        node = self._add_input(InputKind.PARAMETER, target, data)
        self.ep.state_dict[target] = torch.nn.Parameter(data, requires_grad=False)
        return node

    def _placeholder(self, target: str) -> Node | None:
        for node in self.graph.nodes:
            if node.op == "placeholder" and node.name in self._inputs and self._inputs[node.name].target == target:
                found: Node = node
                return found
        return None

    def _add_input(self, kind: InputKind, target: str, data: torch.Tensor, persistent: bool | None = None) -> Node:
        specs = list(self.ep.graph_signature.input_specs)
        # Parameters come before buffers, and both before the arguments of the caller, as torch.export lays them out.
        before = {InputKind.PARAMETER: 0, InputKind.BUFFER: 1, InputKind.CONSTANT_TENSOR: 2}
        position = next((i for i, s in enumerate(specs) if before.get(s.kind, 3) > before[kind]), len(specs))
        placeholders = [n for n in self.graph.nodes if n.op == "placeholder"]
        others = (n for n in self.graph.nodes if n.op != "placeholder")
        next_node = placeholders[position] if position < len(placeholders) else next(others)
        letter = "p" if kind is InputKind.PARAMETER else "b"
        with self.graph.inserting_before(next_node):
            node: Node = self.graph.placeholder(f"{letter}_{target}".replace(".", "_"))
        node.target = node.name
        node.meta["val"] = self._fake(data)
        spec = InputSpec(kind, TensorArgument(name=node.name), target, persistent=persistent)
        specs.insert(position, spec)
        self.ep._graph_signature = ExportGraphSignature(specs, list(self.ep.graph_signature.output_specs))
        self._inputs[node.name] = spec
        self.changed = True
        return node

    def _fake(self, data: torch.Tensor) -> torch.Tensor:
        if self._fake_mode is None:
            return data.to("meta")
        return self._fake_mode.from_tensor(data, static_shapes=True)

    # ------------------------------------------------------------------ nodes

    def call(self, before: Node, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Node:
        """A new call in front of a node, with its fake value and that node's provenance."""
        with self.graph.inserting_before(before):
            node: Node = self.graph.call_function(target, args, kwargs)
        for key in _PROVENANCE:
            if key in before.meta:
                node.meta[key] = before.meta[key]
        fake_args, fake_kwargs = torch.fx.map_arg((args, kwargs), lambda n: n.meta["val"])
        mode = self._fake_mode if self._fake_mode is not None else contextlib.nullcontext()
        with mode, torch.no_grad():
            node.meta["val"] = target(*fake_args, **fake_kwargs)
        self.changed = True
        return node

    def replace(self, old: Node, new: Node) -> None:
        """Let every user of `old`, the program's outputs included, read `new`."""
        old.replace_all_uses_with(new)
        self.changed = True

    def finish(self) -> bool:
        """Remove dead nodes, renew the signature, check the graph; True if the pass changed anything."""
        if not self.changed:
            return False
        self.graph.eliminate_dead_code(_must_stay)
        output = next(n for n in self.graph.nodes if n.op == "output")
        signature = self.ep.graph_signature
        specs = []
        for spec, result in zip(signature.output_specs, output.args[0], strict=True):
            if isinstance(result, Node) and isinstance(spec.arg, (TensorArgument, SymIntArgument)):
                spec.arg.name = result.name
            elif isinstance(spec.arg, ConstantArgument):
                spec.arg = ConstantArgument(name=spec.arg.name, value=result)
            specs.append(spec)
        self.ep._graph_signature = ExportGraphSignature(list(signature.input_specs), specs)
        self.graph.lint()
        self.ep.graph_module.recompile()
        return True


def copy_of(graph: torch.fx.Graph) -> torch.fx.Graph:
    """The same nodes, with the same names, in a new graph."""
    new = torch.fx.Graph()
    copies: dict[Node, Node] = {}
    result = new.graph_copy(graph, copies, return_output_node=True)
    assert isinstance(result, tuple)
    output = new.output(result[0])
    output.meta.update(next(n for n in graph.nodes if n.op == "output").meta)
    return new


def nodes_of(graph: torch.fx.Graph, *targets: object) -> list[Node]:
    """The calls of the given operators, in order; a list, so that the graph may change meanwhile."""
    return [node for node in graph.nodes if is_call(node, *targets)]


def operands(node: Node) -> Iterable[tuple[Any, Any]]:
    """The two operands of a commutative binary call, in both orders."""
    first, second = args_of(node)[:2]
    yield first, second
    yield second, first
