#!/usr/bin/env python3
"""Logits against llama.cpp on the same GGUF: every architecture, prompts of 1, 7, 64 and max-1, and one split in two.

    python benchmarks/peer_logits.py [--types f32 q8_0] [--archs qwen3 llama ...]

Tiny models with random weights (tests/support/make_gguf.py); benchmarks/peer builds llama.cpp. Both run one thread.
Columns: worst NMSE of a row of logits for each prompt, and on how many rows the argmax agrees (quantised, near ties
may fall either way). Exits 1 when a row is beyond the bound of its type.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import peer
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
from executorch_ggml.llm.module import GGUFModule
from tests.support.gguf_presets import TINY
from tests.support.make_gguf import write_gguf

CONTEXT = 128
BOUNDS = {("f32", "f32"): 1e-9, ("f32", "f16"): 1e-5}  # (weights, cache); quantised weights: 1e-3
# llama.cpp's GELU reads a half-precision table; ours is written out, and is the one that equals eager torch.
TABLE_GELU = {"gemma3": 1e-6}


def prompts(vocabulary: int) -> dict[str, list[list[int]]]:
    rng = np.random.default_rng(0)

    def draw(n: int) -> list[int]:
        return [int(x) for x in rng.integers(0, vocabulary, n)]

    return {
        "1": [draw(1)],
        "7": [draw(7)],
        "64": [draw(64)],
        "max-1": [draw(CONTEXT - 1)],
        "40+23": [draw(40), draw(23)],
    }


def ours(module: GGUFModule, chunks: list[list[int]]) -> np.ndarray:
    module.reset()
    rows, position = [], 0
    for chunk in chunks:
        rows.append(module.forward([chunk], list(range(position, position + len(chunk))))[0][0, -1].copy())
        position += len(chunk)
    return np.stack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="+", default=list(TINY))
    parser.add_argument("--types", nargs="+", default=["f32", "q8_0"])
    parser.add_argument("--cache-type", default="f32", choices=("f32", "f16"))
    options = parser.parse_args()
    tools = peer.build()
    print("| architecture | weights | " + " | ".join(prompts(2)) + " | argmax |\n|" + "---|" * 8)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for arch in options.archs:
            for kind in options.types:
                path, pte, out = Path(folder) / "m.gguf", Path(folder) / "m.pte", Path(folder) / "logits"
                write_gguf(path, arch=arch, size="tiny", type=kind)
                export_gguf_to_pte(path, pte, GGUFExportConfig(max_seq_len=CONTEXT))
                row, agree, rows = [], 0, 0
                with GGUFModule(pte, path, cache_type=options.cache_type, threads=1) as module:
                    vocabulary = module.describe()["vocab_size"]
                    for chunks in prompts(vocabulary).values():
                        theirs = tools.logits(path, chunks, out=out, cache_type=options.cache_type, context=CONTEXT)
                        mine = ours(module, chunks)
                        row.append(max(nmse(a, b) for a, b in zip(mine, theirs, strict=True)))
                        agree += int((mine.argmax(-1) == theirs.argmax(-1)).sum())
                        rows += len(mine)
                failed |= max(row) > max(BOUNDS.get((kind, options.cache_type), 1e-3), TABLE_GELU.get(arch, 0.0))
                cells = [arch, kind, *(f"{x:.1e}" for x in row), f"{agree} of {rows}"]
                print("| " + " | ".join(cells) + " |", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
