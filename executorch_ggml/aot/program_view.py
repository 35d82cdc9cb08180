"""The placeholders of an exported program: parameters, buffers, constants and arguments, and their data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from executorch_ggml.errors import InvalidArgumentError
from executorch_ggml.ir import graph as g
from executorch_ggml.ir.builder import Builder, Unsupported, Value

from .kv_caches import KvCache, kv_cache
from .node_view import base_name, is_single, meta_of, to_dtype
from .quantization import GgmlQuantConfig

# Names that torch gives to constants it lifts: the same in every method and partition, so they are keyed by content.
_LIFTED = ("_lifted_tensor_constant", "lifted_tensor_", "_tensor_constant", "_prop_tensor_constant", "_const_")

_CONVERSIONS = frozenset(
    {
        "aten::_to_copy",
        "aten::clone",
        "aten::alias",
        "aten::alias_copy",
        "aten::lift_fresh_copy",
        "dim_order_ops::_to_dim_order_copy",
        "dim_order_ops::_clone_dim_order",
    }
)

WEIGHT_MODES = ("auto", "embedded", "external")


@dataclass(frozen=True)
class WeightOptions:
    """How parameters reach the runtime.

    Attributes:
        mode: ``embedded`` stores data in the ``.pte``. ``external`` stores only the keys of parameters, and a GGUF or
            ``.ptd`` brings the data. Buffers with data are stored; a GGUF that has one of that name wins. ``auto``
            embeds weights with data and leaves meta-device parameters external.
        alternatives: per parameter, the keys to try in order instead of its own name (tied heads).
        expectations: GGUF metadata that the graph relies on, as JSON text per key.
        by_content: names that stand for different data in different methods; these are keyed by content.
        dequantize: external weights of matrix products are converted to float32 when they are loaded.
        quant: how embedded weights are quantised; None: not at all.
        external: parameters that a file brings, in any mode and even if they have data here.
        plain_states: mutable buffers that are no KV caches: another method reads them otherwise than attention does.
    """

    mode: str = "auto"
    alternatives: Mapping[str, Sequence[str]] = field(default_factory=dict)
    expectations: Mapping[str, str] = field(default_factory=dict)
    by_content: frozenset[str] = frozenset()
    dequantize: bool = False
    quant: GgmlQuantConfig | None = None
    external: frozenset[str] = frozenset()
    plain_states: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.mode not in WEIGHT_MODES:
            raise ValueError(f"weights must be one of {', '.join(WEIGHT_MODES)}, not {self.mode!r}")
        if self.quant is not None and self.mode == "external":
            raise InvalidArgumentError("quant is for weights in the .pte; with weights='external' the GGUF decides")

    @property
    def any_external(self) -> bool:
        """Whether a file brings parameters that have data here, which must not be computed with."""
        return self.mode == "external" or bool(self.external)


def has_data(tensor: torch.Tensor) -> bool:
    """Whether a tensor has real elements here (meta and fake tensors have not)."""
    from torch._subclasses.fake_tensor import FakeTensor

    return tensor.device.type != "meta" and not isinstance(tensor, FakeTensor)


def to_numpy(tensor: torch.Tensor) -> g.Array:
    """Elements as float32 (all floats) or the integer type, on the host."""
    tensor = tensor.detach().cpu()
    if tensor.dtype.is_floating_point:
        tensor = tensor.to(torch.float32)
    array: g.Array = tensor.contiguous().numpy()
    return array


class ProgramView:
    """Placeholders of one exported program (whole, or one partition) and their data."""

    def __init__(self, ep: ExportedProgram, options: WeightOptions) -> None:
        self.ep = ep
        self.options = options
        signature = ep.graph_signature
        self._names: dict[str, str] = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        self.constants = set(signature.inputs_to_lifted_tensor_constants)
        hidden = set(signature.non_persistent_buffers)
        self.buffers = {
            node
            for node, name in signature.inputs_to_buffers.items()
            if name not in hidden and not name.rpartition(".")[2].startswith(_LIFTED)
        }
        self.stored = self.buffers | set(signature.inputs_to_parameters)
        """Placeholders of what a checkpoint holds."""
        self.mutated: dict[str, str] = dict(signature.buffers_to_mutate)
        """Output node name -> buffer name."""
        self.mutated_buffers = {str(s.target) for s in signature.output_specs if s.kind is OutputKind.BUFFER_MUTATION}
        uses = Counter(getattr(s.arg, "name", None) for s in signature.output_specs)
        self.shared_results = {
            str(s.target)
            for s in signature.output_specs
            if s.kind is OutputKind.BUFFER_MUTATION and uses[getattr(s.arg, "name", None)] > 1
        }
        """Buffers whose new value is at once another output or another buffer's value."""

    def name_of(self, node: Node) -> str | None:
        """Fully qualified name of a parameter, buffer or constant; None for arguments and other nodes."""
        return self._names.get(node.name) if node.op == "placeholder" else None

    def is_mutated(self, node: Node) -> bool:
        """Whether a placeholder is a buffer that the program changes."""
        return self._names.get(node.name) in self.mutated_buffers if node.op == "placeholder" else False

    def tensor_of(self, node: Node) -> torch.Tensor | None:
        """The tensor behind a parameter, buffer or constant (real, meta or fake)."""
        name = self.name_of(node)
        if name is None:
            return None
        tensor = self.ep.state_dict.get(name)
        if tensor is None:
            tensor = self.ep.constants.get(name)
        if not isinstance(tensor, torch.Tensor):
            return None
        # Python scalars become fake tensors that remember their value.
        remembered = getattr(tensor, "constant", None)
        return remembered if isinstance(remembered, torch.Tensor) else tensor

    def constant(self, node: Node) -> torch.Tensor | None:
        """The data of something that never changes, or None.

        Conversions and copies of a literal of one element count as the literal: edge programs are full of them.
        """
        if node.op == "call_function":
            return self._converted(node)
        if self.is_mutated(node):
            return None
        tensor = self.tensor_of(node)
        if tensor is None or not has_data(tensor):
            return None
        if self.is_external(node):
            return None
        return tensor

    def is_external(self, node: Node) -> bool:
        """Whether a file brings the data of a parameter or buffer, even if it has some here."""
        if self.options.mode == "external":
            return node.name in self.stored
        return self._names.get(node.name) in self.options.external

    def _converted(self, node: Node) -> torch.Tensor | None:
        if base_name(node) not in _CONVERSIONS or not isinstance(node.args[0], Node):
            return None
        source = node.args[0].meta.get("val")
        if not isinstance(source, torch.Tensor) or not is_single(source):
            return None
        data = self.constant(node.args[0])
        return None if data is None else data.to(node.meta["val"].dtype)

    def weight(self, builder: Builder, node: Node, hash_constants: bool) -> Value:
        """The undecided weight of a placeholder. ``hash_constants``: key lifted constants by content."""
        name = self.name_of(node)
        if name is None:
            raise Unsupported(f"{node.name} is not a parameter")
        meta = meta_of(node.meta["val"])
        shape = tuple(int(d) for d in meta.shape)
        data, replaceable = self.constant(node), False
        if data is None and node.name in self.buffers:
            # Not asked of a file, which may hold parameters only; one that has it is followed.
            tensor = self.tensor_of(node)
            if tensor is not None and has_data(tensor):
                data, replaceable = tensor, True
        if data is None:
            tensor = self.tensor_of(node)
            # The partitioner sees fake tensors, which are on the device of the real ones.
            if self.options.mode == "embedded" and (tensor is None or tensor.device.type == "meta"):
                raise InvalidArgumentError(f"weights='embedded', but {name} has no data (it lies on the meta device)")
            keys = [list(self.options.alternatives.get(name, [name]))]
            return builder.add_weight(name, shape, meta.dtype, keys=keys, external=True)
        key = name
        if hash_constants and (node.name in self.constants or name.rpartition(".")[2].startswith(_LIFTED)):
            key = "_constant." + hashlib.sha256(_raw(data)).hexdigest()[:16]
        elif hash_constants and name in self.options.by_content:
            key = f"{name}@{hashlib.sha256(_raw(data)).hexdigest()[:16]}"
        elements = data
        value = builder.add_weight(key, shape, to_dtype(data.dtype), load=lambda: to_numpy(elements))
        builder.graph.weights[value.ref].replaceable = replaceable
        return value

    def kv_cache(self, node: Node) -> KvCache | None:
        """A mutable buffer seen as a KV cache; None for any other state."""
        if self.name_of(node) in self.options.plain_states or not self.is_mutated(node):
            return None
        return kv_cache(node)


def _raw(tensor: torch.Tensor) -> bytes:
    tensor = tensor.detach().cpu().contiguous()
    header = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
    return header + tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else header


Constants = Callable[[Node], torch.Tensor | None]
