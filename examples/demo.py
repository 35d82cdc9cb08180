#!/usr/bin/env python3
"""`make demo`: exports the bundled GGUF, streams text from it, and says where everything is.

python examples/demo.py [--prompt TEXT] [--gguf FILE] [--max-tokens N] [--temperature T] [--seed N]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=ROOT / "assets" / "scripture-2.9m-q8_0.gguf")
    parser.add_argument("--prompt", default="In the morning the king said to")
    parser.add_argument("--max-tokens", type=int, default=160)
    parser.add_argument("--max-seq-len", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    pte = ROOT / "build" / "demo" / (options.gguf.stem + ".pte")
    pte.parent.mkdir(parents=True, exist_ok=True)

    started = time.monotonic()

    def stage(name: str) -> None:
        print(f"[{time.monotonic() - started:3.0f} s] export: {name}", file=sys.stderr, flush=True)

    from executorch_ggml import GGUFExportConfig, export_gguf_to_pte

    export_gguf_to_pte(options.gguf, pte, GGUFExportConfig(max_seq_len=options.max_seq_len), on_stage=stage)
    print(f"exported {pte} ({pte.stat().st_size:,} bytes) in {time.monotonic() - started:.1f} s\n")

    from executorch_ggml import GGUFModule

    with GGUFModule(pte, options.gguf) as module:
        module.print_info()
        print(f"\n{options.prompt}", end="", flush=True)
        generation = module.generate(
            options.prompt,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            top_p=0.95,
            repeat_penalty=1.1,
            seed=options.seed,
        )
        for piece in generation:
            print(piece, end="", flush=True)
        stats = generation.stats
        print(f"\n\nprompt {stats.prompt_tokens} tokens at {stats.prompt_tokens_per_second:,.0f} tok/s, ", end="")
        rate, threads = stats.tokens_per_second, module.info()["program"]["threads"]
        print(f"decode {stats.tokens} tokens at {rate:,.0f} tok/s on {threads} thread(s)")
    command = Path(sys.executable).parent / "executorch-ggml"
    print(f"weights {options.gguf}\ngraph   {pte}")
    print(f"again:  {command} run {options.gguf} 'And it happened that'")


if __name__ == "__main__":
    main()
