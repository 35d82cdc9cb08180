"""``executorch-ggml export``: the graph of a GGUF, of a module for a GGUF, or of a speech checkpoint."""

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
        typer.Argument(
            help="A GGUF (any quantisation), a module (.py, with --gguf), or a speech checkpoint: .nemo, or a folder.",
            metavar="MODEL",
        ),
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
    gguf: Annotated[
        Path | None, typer.Option("--gguf", "-g", help="The file that brings a module's weights.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the graph of a GGUF's model, without its weights, or a speech model from its checkpoint."""
    target = pte or Path(f"{model.stem}.pte")
    speech = model.is_dir() or model.suffix == ".nemo"
    module = model.suffix == ".py"
    if module != (gguf is not None):
        raise InvalidArgumentError(
            f"{model}: a module needs --gguf, the file that brings its weights"
            if module
            else f"{model}: --gguf goes with a .py that defines a module"
        )
    only = {"--full-logits": full_logits, "--one-token": one_token, "--dequantize": dequantize}
    if module:
        only |= {"--max-seq-len": max_seq_len is not None, "--dtype": dtype is not None, "--streaming": streaming}
        del only["--dequantize"]
    elif not speech:
        only = {"--dtype": dtype is not None, "--streaming": streaming}
    if wrong := [name for name, given in only.items() if given]:
        kind = "a GGUF, whose weights stay as they are"
        if speech or module:
            kind = "a speech checkpoint" if speech else "a module, which decides by itself"
        raise InvalidArgumentError(f"{', '.join(wrong)} means nothing for {kind}: {model}")
    if find_spec("torch") is None:
        raise LibraryError("exporting needs torch, running does not: pip install 'executorch-ggml[export]'")
    if gguf is not None:
        facts, line = _module(model, gguf, target, dequantize)
    elif speech:
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


def _module(file: Path, gguf: Path, target: Path, dequantize: bool) -> tuple[dict[str, Any], str]:
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.analysis.model_file import load_definition
    from executorch_ggml.llm.bind.export import export_with_gguf

    found = load_definition(file)
    with stages(f"exporting {file.name}") as stage:
        result = export_with_gguf(
            found.module,
            found.args,
            gguf,
            target,
            example_kwargs=found.kwargs,
            dynamic_shapes=found.dynamic_shapes,
            dequantize=dequantize,
            on_stage=stage,
            **found.binding,
        )
    facts = {
        "path": str(result.path),
        "bytes": result.bytes,
        "seconds": round(result.seconds, 3),
        "delegates": result.delegates,
        "nodes": result.nodes,
        "from_file": len(result.binding.keys),
        "own": sorted(result.binding.own),
        "unused": list(result.binding.unused),
        "checked": dict(result.checked),
    }
    count = "1 delegate" if result.delegates == 1 else f"{result.delegates} delegates"
    same = [fact for fact, how in result.checked.items() if how == "same"]
    absent = [fact for fact, how in result.checked.items() if how == "not found in the graph"]
    lines = [
        f"{result.path}: {size(result.bytes)}, {result.nodes} operators in {count}, {result.seconds:.1f} s",
        f"weights: {len(result.binding.keys)} of {gguf.name}, {len(result.binding.own)} of the module's own; "
        f"{len(result.binding.unused)} tensors of the file are not used",
        f"same as in the file: {', '.join(same) or 'nothing'}",
    ]
    if absent:
        lines.append(f"not found in the graph, so not checked: {', '.join(absent)}")
    return facts, "\n".join(lines)


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
