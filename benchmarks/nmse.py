#!/usr/bin/env python3
"""Logits against eager torch on the dequantised weights, one `.pte` for every weight type.

    python benchmarks/nmse.py --preset qwen3-0.6b --vocab ggml-vocab-qwen2.gguf
    python benchmarks/nmse.py --arch qwen3 --types f32 q8_0        # the tiny size, seconds
    python benchmarks/nmse.py --preset qwen3-0.6b --types f32 --greedy 64

The same F32 weights are written in each type; the graph is exported from each file and must come out byte for byte the
same. Prompt: `--length` small token ids. NMSE = |ours - eager|^2 / |eager|^2 over the last position's logits; eager
dequantises with the `gguf` package and keeps float32 activations and cache, so a quantised row shows what ggml's
quantised activations cost. `--greedy N` also decodes N tokens with an F32 cache, both sides fed eager's choices.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.llm.decoder import build_decoder, load_dequantized, read_header
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.module import GGUFModule
from tests.support.make_gguf import write_gguf

TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k", "q3_k", "q2_k", "iq4_xs", "q4_k_m")


def decoder(gguf: Path, max_seq_len: int) -> torch.nn.Module:
    header = read_header(gguf)
    return load_dequantized(build_decoder(header, max_seq_len), header)


def eager(model: torch.nn.Module, tokens: list[int], first: int = 0) -> np.ndarray:
    with torch.no_grad():
        logits = model(torch.tensor([tokens]), torch.arange(first, first + len(tokens)))
    return logits[0, -1].numpy().astype(np.float64)


def greedy(module: GGUFModule, model: torch.nn.Module, tokens: list[int], count: int) -> str:
    """How many of `count` greedy tokens agree, how many different ones there were, and the worst NMSE of a step."""
    at, same, worst, seen = 0, 0, 0.0, set()
    for _ in range(count):
        ours = module.forward([tokens], list(range(at, at + len(tokens))))[0][0, -1]
        reference = eager(model, tokens, at)
        at += len(tokens)
        tokens = [int(reference.argmax())]
        same += int(ours.argmax()) == tokens[0]
        seen.add(tokens[0])
        worst = max(worst, nmse(ours, reference))
    return f"greedy: {same} of {count} tokens the same ({len(seen)} different ones), worst NMSE of a step {worst:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", help="a real size of make_gguf.py; default: the tiny size of --arch")
    parser.add_argument("--arch", default="qwen3")
    parser.add_argument("--vocab", type=Path)
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--length", type=int, default=5)
    parser.add_argument("--max-seq-len", type=int, default=128)
    parser.add_argument("--greedy", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    tokens = list(range(1, options.length + 1))
    graph = b""
    print("| weights | GGUF MB | NMSE, f32 cache | NMSE, f16 cache | NMSE, q8_0 cache | argmax |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.types:
            path, pte = Path(folder) / "model.gguf", Path(folder) / "model.pte"
            where = {"size": options.preset} if options.preset else {"arch": options.arch, "size": "tiny"}
            write_gguf(path, type=kind, vocab=options.vocab, **where)
            export_gguf_to_pte(path, pte, GGUFExportConfig(max_seq_len=options.max_seq_len))
            graph = graph or pte.read_bytes()
            if pte.read_bytes() != graph:
                raise SystemExit(f"{kind}: the .pte differs from that of {options.types[0]}")
            model = decoder(path, options.max_seq_len)
            reference = eager(model, tokens)
            row, agree = [], True
            for cache in ("f32", "f16", "q8_0"):
                with GGUFModule(pte, path, cache_type=cache, threads=options.threads) as module:
                    ours = module.forward([tokens], list(range(len(tokens))))[0][0, -1]
                row.append(nmse(ours, reference))
                agree &= bool(ours.argmax() == reference.argmax())
            cells = [
                kind,
                f"{path.stat().st_size / 1e6:,.1f}",
                *(f"{x:.2e}" for x in row),
                "same" if agree else "DIFFERS",
            ]
            print("| " + " | ".join(cells) + " |", flush=True)
            if options.greedy:
                with GGUFModule(pte, path, cache_type="f32", threads=options.threads) as module:
                    print(greedy(module, decoder(path, options.max_seq_len), tokens, options.greedy), flush=True)
            path.unlink()
    print(f"\n.pte: {len(graph):,} bytes, the same for all {len(options.types)} types")


if __name__ == "__main__":
    main()
