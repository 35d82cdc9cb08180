"""Weights quantised when a model is lowered: the choice of weights and types, and the bytes in ggml's encoding."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from executorch_ggml.errors import InvalidArgumentError, LibraryError
from executorch_ggml.gguf.types import BLOCKS, QUANT_TYPES
from executorch_ggml.ir import graph as g
from executorch_ggml.ir.interpret import round_bf16
from executorch_ggml.ir.types import GgmlType
from executorch_ggml.runtime.types import quantize

log = logging.getLogger(__name__)


# Beyond this a half is infinite: F16 elements, and the scales of all block types.
_LARGEST_FP16 = 65504.0


@dataclass(frozen=True)
class GgmlQuantConfig:
    """How embedded weights are stored. Given to ``GgmlPartitioner`` or ``to_edge_rewrite_and_lower`` as ``quant``.

    Matrices that only matrix products multiply by (``linear``, products with a parameter, experts) and tables for row
    look-ups (``embedding``) are stored in ``type``. Kernels of dense convolutions become F16 for every type:
    convolutions take floats only (with BF16 they stay). Everything else stays as it is: norms, biases, kernels of
    depthwise convolutions, anything element-wise.

    Attributes:
        type: one of ``QUANT_TYPES`` in any case, or its ``GgmlType``. Rows that are no multiple of the block: Q4_K,
            Q5_K and Q6_K (256 elements) fall back to Q8_0 (32 elements), and rows that do not divide by 32 stay.
        skip: fnmatch patterns (case matters) of parameter names that stay, such as ``"*.head.weight"``. Tied
            parameters are one, under the name that the program keeps; one computed from constants alone is named
            ``_ggml_folded_<hash>`` (``executorch-ggml inspect --weights`` lists names).
        minimum_size: weights with fewer elements stay.

    Raises:
        InvalidArgumentError: another type, patterns that are not strings, a negative size.
    """

    type: str | GgmlType = "Q8_0"
    skip: Sequence[str] = ()
    minimum_size: int = 1024

    def __post_init__(self) -> None:
        name = self.type.name if isinstance(self.type, GgmlType) else str(self.type).upper()
        if name not in QUANT_TYPES:
            raise InvalidArgumentError(f"weights can be quantised to {', '.join(QUANT_TYPES)}, not to {self.type!r}")
        if isinstance(self.skip, str) or not all(isinstance(p, str) for p in self.skip):
            raise InvalidArgumentError(f"skip is a sequence of patterns, not {self.skip!r}")
        if self.minimum_size < 0:
            raise InvalidArgumentError(f"minimum_size is {self.minimum_size}; it counts elements")
        object.__setattr__(self, "type", GgmlType[name])
        object.__setattr__(self, "skip", tuple(self.skip))

    @property
    def kind(self) -> GgmlType:
        """``type`` as ggml's number."""
        assert isinstance(self.type, GgmlType)
        return self.type

    def to_json(self) -> dict[str, Any]:
        """Fields that ``GgmlQuantConfig(**fields)`` takes back."""
        return {"type": self.kind.name, "skip": list(self.skip), "minimum_size": self.minimum_size}

    def skips(self, name: str) -> bool:
        """Whether a weight stays because of its name. Suffixes that lowering adds do not count."""
        names = {name, *(part.partition("#")[0].partition("@")[0] for part in name.partition("#")[0].split("+"))}
        names |= {n.removesuffix("_folded") for n in names}
        # The matrices of Fourier transforms are no weights of the model.
        return any(fnmatchcase(n, pattern) for n in names for pattern in (*self.skip, "_ggml_fourier_*"))


def quantize_graph(graph: g.Graph, config: GgmlQuantConfig) -> None:
    """Retypes the weights of a finished graph that ``config`` applies to; ``encode`` gives their bytes.

    A weight changes only when all its readers take the type. Its key gets the type appended, because another delegate
    or method may hold the same parameter in float.
    """
    readers: dict[int, list[tuple[int, int]]] = {}
    live = graph.live()
    for index in live:
        for operand, source in enumerate(graph.nodes[index].src):
            readers.setdefault(source, []).append((index, operand))
    results = {o.node for o in graph.outputs}
    leaves: dict[int, list[int]] = {}
    for index in live:
        if graph.nodes[index].op == "WeightLeaf":
            leaves.setdefault(graph.slots[graph.nodes[index].attrs["slot"]].weight, []).append(index)
    for ref, nodes in leaves.items():
        weight = graph.weights[ref]
        convolves = all(_convolves(graph, readers, results, n) for n in nodes)
        kind = _target(weight, config, convolves)
        found: dict[int, int] = dict.fromkeys(nodes, g.MATMUL) if convolves else {}
        if kind is None or not (convolves or all(_follow(graph, readers, results, n, found) for n in nodes)):
            continue
        if not _fits(weight):
            log.warning("weight %s stays %s: fp16 cannot hold its values", weight.name, weight.type.name)
            continue
        log.debug("weight %s: %s -> %s", weight.name, weight.type.name, kind.name)
        weight.type, weight.is_requantized = kind, True
        weight.parts = [[f"{key}#{kind.name.lower()}" for key in keys] for keys in weight.parts]
        for node, usage in found.items():
            graph.nodes[node].type = kind
            if graph.nodes[node].op == "WeightLeaf":
                slot = graph.slots[graph.nodes[node].attrs["slot"]]
                slot.type, slot.cast, slot.usage = kind, GgmlType.ANY, usage


def _convolves(graph: g.Graph, readers: dict[int, list[tuple[int, int]]], results: set[int], node: int) -> bool:
    """Whether a leaf is the kernel of dense convolutions and nothing else."""
    found = readers.get(node, [])
    return (
        node not in results
        and bool(found)
        and all(operand == 0 and _dense_convolution(graph, node, graph.nodes[reader]) for reader, operand in found)
    )


def _dense_convolution(graph: g.Graph, kernel: int, reader: g.Node) -> bool:
    if reader.op == "Conv3d":
        return True
    # One kernel per channel is little data, and takes F32 only.
    return reader.op == "Conv2d" and graph.nodes[kernel].ne[2] == graph.nodes[reader.src[1]].ne[2]


def _target(weight: g.Weight, config: GgmlQuantConfig, convolves: bool) -> GgmlType | None:
    """The type a weight gets if its readers allow, None if it stays."""
    if weight.load is None or weight.packed or weight.type not in BLOCKS or len(weight.shape) < 2:
        return None
    elements = int(np.prod(weight.shape))
    if not elements or elements < config.minimum_size or config.skips(weight.name):
        return None
    kind = config.kind
    if convolves:
        if kind is GgmlType.BF16:
            return None
        kind = GgmlType.F16
    elif weight.shape[-1] % BLOCKS[kind][0]:
        kind = GgmlType.Q8_0
    block, size = BLOCKS[kind]
    old_block, old_size = BLOCKS[weight.type]
    # Weights that are as small already stay: F16 to BF16 would lose digits and gain nothing.
    return kind if weight.shape[-1] % block == 0 and size * old_block < old_size * block else None


def _follow(
    graph: g.Graph, readers: dict[int, list[tuple[int, int]]], results: set[int], node: int, found: dict[int, int]
) -> bool:
    """Whether all readers of a leaf (through reshapes that keep its rows) take any type; notes each node's usage."""
    if node in results or not readers.get(node):
        return False
    usages = set()
    for reader, operand in readers[node]:
        op = graph.nodes[reader].op
        if op == "Reshape" and graph.nodes[reader].ne[0] == graph.nodes[node].ne[0]:
            if not _follow(graph, readers, results, reader, found):
                return False
            usages.add(found[reader])
        elif operand == 0 and op in ("MulMat", "MulMatId"):
            usages.add(g.MATMUL)
        elif operand == 0 and op == "GetRows":
            usages.add(g.ROWS)
        else:
            return False
    # A slot has one usage, which is checked against the type; every type here serves both.
    found[node] = min(usages)
    return True


def _fits(weight: g.Weight) -> bool:
    assert weight.load is not None
    data = weight.load()
    return bool(np.isfinite(data).all()) and float(np.abs(data).max(initial=0.0)) <= _LARGEST_FP16


def encode(weight: g.Weight) -> npt.NDArray[np.uint8]:
    """The bytes of a quantised weight: uint8 [...].

    F16 and BF16 are rounded to nearest here. The block types use the library, which is loaded now. Only ggml implements
    the search behind the K types: the `gguf` package decodes them but cannot make them. One source for all block types
    also means the same bytes as llama-quantize. Exports without them never load native code.

    Raises:
        LibraryError: the library cannot be loaded.
    """
    assert weight.load is not None
    data = np.ascontiguousarray(weight.load(), dtype=np.float32)
    if weight.type is GgmlType.F16:
        return data.astype(np.float16).view(np.uint8)
    if weight.type is GgmlType.BF16:
        return np.ascontiguousarray((round_bf16(data).view(np.uint32) >> 16).astype(np.uint16)).view(np.uint8)
    try:
        return quantize(data.reshape(-1, data.shape[-1]), int(weight.type))
    except LibraryError as error:
        raise LibraryError(
            f"quantising {weight.name} to {weight.type.name} takes ggml's own code, in this package's native library "
            f"(F16 and BF16 do without it): {error}"
        ) from error


__all__ = ["QUANT_TYPES", "GgmlQuantConfig", "encode", "quantize_graph"]
