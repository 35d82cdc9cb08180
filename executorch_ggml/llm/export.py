"""From a GGUF to a `.pte`: the graph of the model, without its weights.

    export_gguf_to_pte("Qwen3-0.6B-Q8_0.gguf", "qwen3.pte", GGUFExportConfig(max_seq_len=2048))

Only the header of the GGUF is read. The `.pte` has some 100 kB for a model of any size. It runs with every quantisation
of the same model, and each of them gives the same bytes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executorch_ggml.errors import InvalidArgumentError, UnsupportedError
from executorch_ggml.errors.files import check_target, write_atomically
from executorch_ggml.gguf.header import GgufHeader, read_header

if TYPE_CHECKING:
    from .decoder.block import StateKind
    from .decoder.config import ModelConfig
    from .decoder.decoder import Decoder

__all__ = ["ExportResult", "GGUFExportConfig", "export_gguf_to_pte"]

logger = logging.getLogger(__name__)

_MAX_SEQ_LEN = (1 << 31) - 1  # positions are 32-bit in the kernels


@dataclass(frozen=True)
class GGUFExportConfig:
    """The choices of an export.

    Attributes:
        max_seq_len: positions of a sequence, prompt and answer together. Memory for states is taken when the model is
            loaded. A KV cache has 2 * max_seq_len * kv_heads * head_dim elements a layer, of the cache type chosen
            there.
        preserve_dynamic_shapes: one call takes any number of tokens 1..max_seq_len. False: exactly one token a call, a
            graph without symbols for runtimes that want one.
        enable_quantization: quantised weights are multiplied as they are; ggml quantises the activations to match.
            False: the weights of matrix products are converted to float32 once, when the model is loaded, and all
            arithmetic is in float32. That is exact to rounding and takes up to eight times the memory: a reference.
        full_logits: logits for every position of a call, [1, T, vocab], instead of the last one, [1, 1, vocab].
    """

    max_seq_len: int = 2048
    preserve_dynamic_shapes: bool = True
    enable_quantization: bool = True
    full_logits: bool = False

    def __post_init__(self) -> None:
        value = self.max_seq_len
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_SEQ_LEN:
            raise InvalidArgumentError(f"max_seq_len must be an integer in 1..{_MAX_SEQ_LEN}, got {value!r:.40}")


@dataclass(frozen=True)
class ExportResult:
    """The result of an export.

    Attributes:
        path: the file.
        bytes: its size.
        seconds: wall time of the export.
        nodes: operators in the delegated graph.
        config: the model's dimensions, from the GGUF.
        states: the states of the model's blocks, by name, with their kinds.
    """

    path: Path
    bytes: int
    seconds: float
    nodes: int
    config: ModelConfig
    states: dict[str, StateKind]


def export_gguf_to_pte(
    gguf_path: str | os.PathLike[str],
    pte_path: str | os.PathLike[str],
    config: GGUFExportConfig | None = None,
    *,
    on_stage: Callable[[str], None] | None = None,
) -> ExportResult:
    """Writes the graph of a GGUF's model; the method is `forward`.

    forward(input_ids int64 [1, T], cache_pos int64 [T]) -> logits float32 [1, 1, vocab] ([1, T, vocab] with
    full_logits). cache_pos holds the positions of the tokens. With KV caches alone they need not follow those of the
    last call, but lower positions must have been written. Where a block keeps a summary of the sequence (`states`),
    they must follow, or start at 0. Constant methods describe the model to ExecuTorch's text runners.

    The file appears complete or not at all; where pte_path is a symbolic link, it stays one. Exports of several threads
    run one after the other.

    Args:
        gguf_path: only its metadata and table of tensors are read.
        pte_path: the file to write.
        config: the choices of the export; the defaults of `GGUFExportConfig` if missing.
        on_stage: called with a few words when a stage begins.

    Raises:
        FileError: a file cannot be read or written.
        FormatError: a malformed GGUF, or one without a key, which is named.
        UnsupportedError: an architecture, or a feature of one, that is not implemented.
        BindError: tensors that do not fit the metadata.
        InvalidArgumentError: the configuration; a pte_path that is the GGUF, or another file with weights.
    """
    config = config or GGUFExportConfig()
    start = time.monotonic()
    header = read_header(gguf_path)
    target = Path(pte_path)
    check_target(target, header.paths)
    stage = on_stage or _silent
    stage("importing torch")
    # Late: it imports torch, and a GGUFExportConfig is made without it.
    from executorch_ggml.aot.export_lock import EXPORTING

    with EXPORTING:
        buffer, nodes, model = _lower(header, config, stage)
    stage("writing")
    write_atomically(target, lambda file: file.write(buffer), header.paths)
    seconds = time.monotonic() - start
    logger.info("%s: %d bytes, %d nodes, %.1f s", target, len(buffer), nodes, seconds)
    return ExportResult(target, len(buffer), seconds, nodes, model.config, model.states)


def _silent(stage: str) -> None:
    pass


def _lower(header: GgufHeader, config: GGUFExportConfig, stage: Callable[[str], None]) -> tuple[bytes, int, Decoder]:
    """The bytes of the `.pte` and the number of delegated operators."""
    # Late, as above; after our own package has imported executorch without its warnings.
    import torch
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
    from torch.export import Dim, export

    from executorch_ggml.aot.partitioner import GgmlPartitioner
    from executorch_ggml.aot.quiet import quiet, undisturbed

    from .decoder.decoder import TIED_HEAD, build_decoder

    stage("making the model")
    model = build_decoder(header, config.max_seq_len, full_logits=config.full_logits)
    dynamic = config.preserve_dynamic_shapes and config.max_seq_len > 1
    # torch takes a dimension of 1..2 for a constant: with two positions, a call takes up to three tokens, and the third
    # has no position to go to.
    longest = max(3, config.max_seq_len)
    tokens = 3 if dynamic else 1
    inputs = tuple(torch.zeros(shape, dtype=torch.int64, device="meta") for shape in ((1, tokens), (tokens,)))
    shapes = None
    if dynamic:
        length = Dim("tokens", min=1, max=longest)
        shapes = ({1: length}, {0: length})
    partitioner = GgmlPartitioner(
        weights="auto",  # on the meta device, so external; constants of the graph stay in it
        expectations=model.config.metadata,
        weight_alternatives=TIED_HEAD,
        dequantize=not config.enable_quantization,
    )
    with quiet(), undisturbed(), torch.no_grad():
        stage("tracing")
        program = export(model, inputs, dynamic_shapes=shapes, strict=False)
        stage("lowering")
        edge = to_edge_transform_and_lower(
            program,
            partitioner=[partitioner],
            constant_methods=_constant_methods(model.config, dynamic),
            # Validation would take a fifth of the time to find nothing: undelegated nodes are refused below.
            compile_config=EdgeCompileConfig(_skip_dim_order=True, _check_ir_validity=False),
        )
        delegate = _one_delegate(edge)
        _check_states(bytes(delegate.processed_bytes), model.states)
        buffer = bytes(edge.to_executorch(ExecutorchBackendConfig()).buffer)
    inner = delegate.original_module.graph_module.graph.nodes
    return buffer, sum(node.op == "call_function" for node in inner), model


def _constant_methods(config: ModelConfig, dynamic: bool) -> dict[str, Any]:
    """The constant methods that ExecuTorch's TextLLMRunner and other hosts call."""
    methods: dict[str, Any] = {
        "get_max_seq_len": config.max_seq_len,
        "get_max_context_len": config.max_seq_len,
        "get_vocab_size": config.vocab,
        "get_n_layers": config.layers,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": False,
        "enable_dynamic_shape": dynamic,
    }
    if config.bos is not None:
        methods["get_bos_id"] = config.bos
    if config.eos:
        methods["get_eos_ids"] = list(config.eos)
    return methods


def _one_delegate(edge: Any) -> Any:
    """Checks that one delegate is all there is, and returns it.

    Raises UnsupportedError, which names the undelegated nodes. A model delegated in part would be slow without a word,
    and its weights outside the delegate have no data.
    """
    graph = edge.exported_program().graph_module
    calls = [node for node in graph.graph.nodes if node.op == "call_function"]
    delegates = [node for node in calls if "executorch_call_delegate" in str(node.target)]
    # Sizes of inputs are read by the runtime itself, before the delegate is called.
    free = ("getitem", "sym_size")
    others = [node for node in calls if node not in delegates and not any(name in str(node.target) for name in free)]
    if len(delegates) != 1 or others:
        left = ", ".join(sorted({str(node.target) for node in others})) or "nothing"
        raise UnsupportedError(
            f"the model did not become one delegate but {len(delegates)}; left outside: {left}. This is a defect of "
            "executorch-ggml: executorch_ggml.explain says why each operator was refused"
        )
    return getattr(graph, delegates[0].args[0].target)


def _check_states(payload: bytes, states: dict[str, StateKind]) -> None:
    """Checks that the runtime treats each state as its block declares: the kind decides how a sequence goes back.

    Raises UnsupportedError, which names the states.
    """
    # Late: the kinds of states come with torch.
    from executorch_ggml.ir.graph import GENERIC_STATE, KV_CACHE
    from executorch_ggml.ir.serialize import deserialize

    from .decoder.block import StateKind

    kinds = {KV_CACHE: StateKind.POSITIONS, GENERIC_STATE: StateKind.SEQUENCE}
    found = {slot.name.decode(): kinds[slot.kind] for slot in deserialize(payload).states or ()}
    wrong = sorted(name for name in found.keys() | states.keys() if found.get(name) != states.get(name))
    if wrong:
        name = wrong[0]
        said, is_ = (getattr(kind.get(name), "value", "none") for kind in (states, found))
        raise UnsupportedError(
            f"{len(wrong)} states are not of the kind that their blocks declare: {name} is declared as {said!r}, but "
            f"was lowered as {is_!r}. A cache of positions is written by index_copy_ and read by causal_attention alone"
        )
