"""``executorch-ggml export``: a GGUF's graph as a `.pte`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, echo, print_json, size


def export(
    gguf: Annotated[Path, typer.Argument(help="Any quantisation of the model.", metavar="MODEL.gguf")],
    pte: Annotated[
        Path | None, typer.Argument(help="Where to write the graph; default: the GGUF's name in this directory.")
    ] = None,
    max_seq_len: Annotated[int, typer.Option(min=1, help="Positions of the KV cache: prompt and answer.")] = 2048,
    full_logits: Annotated[bool, typer.Option(help="Logits for every position, not the last one alone.")] = False,
    one_token: Annotated[
        bool, typer.Option("--one-token", help="A static graph that takes exactly one token a call.")
    ] = False,
    dequantize: Annotated[
        bool, typer.Option("--dequantize", help="Weights become float32 when loaded: exact, at up to 8x the memory.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the graph of a GGUF's model, without its weights."""
    target = pte or Path(gguf.stem).with_suffix(".pte")
    try:
        import torch  # noqa: F401 - here for the message; everything else works without it
    except ImportError:
        raise ImportError("exporting needs torch, running does not: pip install 'executorch-ggml[export]'") from None
    # Late: it imports torch, which takes seconds and may be missing.
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

    config = GGUFExportConfig(
        max_seq_len=max_seq_len,
        preserve_dynamic_shapes=not one_token,
        enable_quantization=not dequantize,
        full_logits=full_logits,
    )
    result = export_gguf_to_pte(gguf, target, config)
    if as_json:
        print_json(
            {
                "path": str(result.path),
                "bytes": result.bytes,
                "seconds": round(result.seconds, 3),
                "nodes": result.nodes,
                "architecture": result.config.architecture.name,
                "max_seq_len": result.config.max_seq_len,
            }
        )
        return
    architecture = result.config.architecture.name
    echo(f"{result.path}: {architecture}, {size(result.bytes)}, {result.nodes} operators, {result.seconds:.1f} s")
