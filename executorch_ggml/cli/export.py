"""``executorch-ggml export``: a GGUF's graph as a `.pte`; a speech checkpoint as a `.pte` with its weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from executorch_ggml.errors import InvalidArgumentError, LibraryError

from .options import AsJson, echo, echo_err, print_json, size
from .stages import stages


def export(
    model: Annotated[
        Path,
        typer.Argument(help="A GGUF (any quantisation), or a speech checkpoint: .nemo, or a folder.", metavar="MODEL"),
    ],
    pte: Annotated[
        Path | None, typer.Argument(help="Where to write the graph; default: the model's name in this directory.")
    ] = None,
    max_seq_len: Annotated[
        int | None,
        typer.Option(
            min=1, help="Positions of the KV cache: prompt and answer. [default: the model's own, at most 2048]"
        ),
    ] = None,
    full_logits: Annotated[bool, typer.Option(help="Logits for every position, not the last one alone.")] = False,
    one_token: Annotated[
        bool, typer.Option("--one-token", help="A static graph that takes exactly one token a call.")
    ] = False,
    dequantize: Annotated[
        bool, typer.Option("--dequantize", help="Weights become float32 when loaded: exact, at up to 8x the memory.")
    ] = False,
    dtype: Annotated[
        str | None, typer.Option(help="Speech: type of the matrices: F32, F16, BF16, Q8_0, Q4_K ... [default: Q8_0]")
    ] = None,
    streaming: Annotated[bool, typer.Option("--streaming", help="Voxtral: audio without end.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the graph of a GGUF's model, without its weights, or a speech model from its checkpoint."""
    target = pte or Path(f"{model.stem}.pte")
    speech = model.is_dir() or model.suffix == ".nemo"
    only = {"--full-logits": full_logits, "--one-token": one_token, "--dequantize": dequantize}
    if not speech:
        only = {"--dtype": dtype is not None, "--streaming": streaming}
    if wrong := [name for name, given in only.items() if given]:
        kind = "a speech checkpoint" if speech else "a GGUF, whose weights stay as they are"
        raise InvalidArgumentError(f"{', '.join(wrong)} means nothing for {kind}: {model}")
    if find_spec("torch") is None:
        raise LibraryError("exporting needs torch, running does not: pip install 'executorch-ggml[export]'")
    if speech:
        facts, line = _speech(model, target, dtype or "Q8_0", streaming, max_seq_len)
    else:
        facts, line = _gguf(model, target, max_seq_len, full_logits, one_token, dequantize)
    if as_json:
        print_json(facts)
    else:
        echo(line)


def _gguf(
    gguf: Path, target: Path, max_seq_len: int | None, full_logits: bool, one_token: bool, dequantize: bool
) -> tuple[dict[str, Any], str]:
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.gguf.header import read_header
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
    from executorch_ggml.llm.graph_cache import bounded_length, context_length

    header = read_header(gguf)
    trained = context_length(header)
    if max_seq_len is not None and trained is not None and max_seq_len > trained:
        echo_err(f"[{max_seq_len} positions, but the model was trained for {trained}: text beyond is poor]")
    max_seq_len = max_seq_len or bounded_length(header)
    config = GGUFExportConfig(
        max_seq_len=max_seq_len,
        preserve_dynamic_shapes=not one_token,
        enable_quantization=not dequantize,
        full_logits=full_logits,
    )
    with stages(f"exporting {gguf.name}") as stage:
        result = export_gguf_to_pte(gguf, target, config, on_stage=stage)
    architecture = result.config.architecture
    facts = {
        "path": str(result.path),
        "bytes": result.bytes,
        "seconds": round(result.seconds, 3),
        "nodes": result.nodes,
        "architecture": architecture,
        "max_seq_len": result.config.max_seq_len,
    }
    return (
        facts,
        f"{result.path}: {architecture}, {size(result.bytes)}, {result.nodes} operators, {result.seconds:.1f} s",
    )


def _speech(
    checkpoint: Path, target: Path, dtype: str, streaming: bool, max_seq_len: int | None
) -> tuple[dict[str, Any], str]:
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.speech.export import export_checkpoint

    done = export_checkpoint(checkpoint, target, dtype=dtype, streaming=streaming, max_seq_len=max_seq_len)
    facts = {
        "path": str(done.result.path),
        "bytes": done.result.bytes,
        "nodes": dict(done.result.nodes),
        "architecture": done.family,
        "gguf": str(done.gguf) if done.gguf else None,
    }
    line = f"{done.result.path}: {done.family}, {size(done.result.bytes)}, {sum(done.result.nodes.values())} operators"
    return facts, line + (f"; {done.gguf}: {size(done.gguf_bytes)}" if done.gguf else "")
