"""GgmlBackend: turns one partition into a payload of the delegate."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from executorch.exir._serialize._named_data_store import NamedDataStore
from executorch.exir.backend.backend_details import BackendDetails, PreprocessResult
from executorch.exir.backend.compile_spec_schema import CompileSpec
from executorch.exir.delegate import executorch_call_delegate
from torch.export import ExportedProgram
from torch.fx.node import has_side_effect

from executorch_ggml.ir.builder import Builder

from .lower_nodes import PartitionLowering
from .program_view import WeightOptions, has_data
from .quantization import GgmlQuantConfig, encode, quantize_graph

# A delegate may do nothing but write its states. ExecuTorch's passes remove calls of which nobody reads a result.
has_side_effect(executorch_call_delegate)

# Bytes; ggml's CPU backend wants it for tensor data, and SIMD loads are fastest with it.
ALIGNMENT = 64


def encode_options(options: WeightOptions) -> bytes:
    """Options as the bytes of a compile spec."""
    fields = {
        "weights": options.mode,
        "alternatives": {k: list(v) for k, v in options.alternatives.items()},
        "expectations": dict(options.expectations),
        "dequantize": options.dequantize,
        "quant": options.quant.to_json() if options.quant is not None else None,
        "external": sorted(options.external),
        "plain_states": sorted(options.plain_states),
    }
    return json.dumps(fields, sort_keys=True).encode()


def decode_options(compile_specs: list[CompileSpec]) -> WeightOptions:
    """The options in a list of compile specs (defaults when there are none)."""
    for spec in compile_specs:
        if spec.key == "ggml":
            fields: dict[str, Any] = json.loads(bytes(spec.value))
            return WeightOptions(
                fields["weights"],
                fields["alternatives"],
                fields["expectations"],
                dequantize=fields["dequantize"],
                quant=GgmlQuantConfig(**quant) if (quant := fields.get("quant")) else None,
                external=frozenset(fields["external"]),
                plain_states=frozenset(fields["plain_states"]),
            )
    return WeightOptions()


def empty_sizes(names: Collection[str]) -> CompileSpec:
    """Symbols that a program was exported with a minimum of 0 for, as a compile spec."""
    return CompileSpec("ggml_empty", json.dumps(sorted(names)).encode())


def _empty_sizes(compile_specs: list[CompileSpec]) -> frozenset[str]:
    return frozenset(n for s in compile_specs if s.key == "ggml_empty" for n in json.loads(bytes(s.value)))


class GgmlBackend(BackendDetails):  # type: ignore[misc]
    """The ahead-of-time half of the delegate; its class name is the id that the runtime registers."""

    @classmethod
    def copy_exported_program_for_preprocess(
        cls, edge_program: ExportedProgram, compile_specs: list[CompileSpec]
    ) -> ExportedProgram:
        """The program itself: preprocessing only reads it, and a copy would double the weights."""
        return edge_program

    @staticmethod
    def preprocess(edge_program: ExportedProgram, compile_specs: list[CompileSpec]) -> PreprocessResult:
        """Payload, named data and debug handles of one partition.

        Raises:
            Unsupported: the partition holds something that cannot be lowered; the text names node and source line.
        """
        return _preprocess(edge_program, decode_options(compile_specs), _empty_sizes(compile_specs))

    @classmethod
    def preprocess_multimethod(
        cls, edge_programs: dict[str, list[ExportedProgram]], compile_specs: dict[str, list[list[CompileSpec]]]
    ) -> dict[str, list[PreprocessResult]]:
        """As ``preprocess``, for all partitions of all methods.

        Methods exported from one model share their weights by name. Methods of different models may use one name for
        different data; those weights are stored under name and content.
        """
        ambiguous = _ambiguous_names([p for programs in edge_programs.values() for p in programs])
        return {
            method: [
                _preprocess(program, replace(decode_options(specs), by_content=ambiguous), _empty_sizes(specs))
                for program, specs in zip(programs, compile_specs[method], strict=True)
            ]
            for method, programs in edge_programs.items()
        }


def _preprocess(
    edge_program: ExportedProgram, options: WeightOptions, may_be_empty: Collection[str]
) -> PreprocessResult:
    lowering = PartitionLowering(edge_program, options, _name(edge_program), may_be_empty)
    builder = lowering.run()
    if options.quant is not None:
        quantize_graph(builder.graph, options.quant)
    store = NamedDataStore()
    _store_weights(builder, lowering, store)
    for key, node in lowering.initial.items():
        tensor = lowering.view.tensor_of(node)
        assert tensor is not None
        if key in _used_initials(builder):
            cache = lowering.view.kv_cache(node)
            stored = tensor.detach().to(torch.float32)
            stored = stored.permute(cache.order) if cache else stored
            store.add_named_data(key, stored.contiguous(), alignment=ALIGNMENT)
    payload = builder.serialize()
    return PreprocessResult(
        processed_bytes=payload,
        debug_handle_map=_debug_handles(builder),
        data_store_output=store.get_named_data_store_output(),
    )


def _ambiguous_names(programs: list[ExportedProgram]) -> frozenset[str]:
    seen: dict[str, torch.Tensor] = {}
    found = set()
    for program in programs:
        for name, tensor in (*program.state_dict.items(), *program.constants.items()):
            if not isinstance(tensor, torch.Tensor) or not has_data(tensor):
                continue
            other = seen.setdefault(name, tensor)
            same_memory = other is tensor or other.data_ptr() == tensor.data_ptr()
            if not same_memory and (other.dtype != tensor.dtype or not torch.equal(other, tensor)):
                found.add(name)
    return frozenset(found)


def _name(ep: ExportedProgram) -> str:
    outputs = ep.graph_signature.user_outputs
    return str(outputs[0]) if outputs else "ggml"


def _used_initials(builder: Builder) -> set[str]:
    graph = builder.graph
    used = {graph.nodes[i].attrs["slot"] for i in graph.live() if graph.nodes[i].op == "StateLeaf"}
    return {graph.states[slot].initial for slot in used}


def _store_weights(builder: Builder, lowering: PartitionLowering, store: NamedDataStore) -> None:
    graph = builder.graph
    tensors = {}
    for node, value in lowering.values.items():
        if lowering.view.name_of(node) is not None and hasattr(value, "ref") and value.ref >= 0:
            tensors[value.ref] = lowering.view.constant(node)
    for ref in graph.used_weights():
        weight = graph.weights[ref]
        if weight.load is None:
            continue
        tensor = None if weight.is_requantized else tensors.get(ref)
        if tensor is None:
            tensor = torch.from_numpy(encode(weight) if weight.is_requantized else weight.load())
        tensor = tensor.detach().cpu().contiguous()
        if 0 in tensor.stride():  # of a dimension of one: contiguous to torch, refused by ExecuTorch
            tensor = tensor.clone(memory_format=torch.contiguous_format)
        store.add_named_data(weight.parts[0][0], tensor, alignment=ALIGNMENT)


def _debug_handles(builder: Builder) -> dict[int, tuple[int, ...]]:
    """Index of each node in the payload -> debug handles of its torch nodes; its value is the last one's."""
    graph = builder.graph
    found: dict[int, tuple[int, ...]] = {}
    for index, old in enumerate(graph.live()):
        node = graph.nodes[old]
        handles = tuple(h for h in (node.debug_handle, *node.joined_handles) if h)
        if handles:
            found[index] = handles
    return found


__all__ = ["ALIGNMENT", "GgmlBackend", "decode_options", "empty_sizes", "encode_options"]
