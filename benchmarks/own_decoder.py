#!/usr/bin/env python3
"""The decoder of `examples/own_decoder.py` beside the built-in one, on the same GGUF: decode and prefill, in turns.

    python benchmarks/own_decoder.py model.gguf [--threads 1] [--rounds 7] [--tokens 64] [--prompt 128]

Both must give the same tokens before a time counts. The ratio is the median of the rounds' ratios, above 1 when the own
decoder is faster.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "examples")]
import own_decoder  # noqa: E402

from executorch_ggml import GGUFModule  # noqa: E402
from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte  # noqa: E402

CONTEXT = 1024


def timed(module: GGUFModule, prompt: np.ndarray, tokens: int) -> tuple[float, float, list[int]]:
    """Seconds of the prompt, seconds of the other tokens, and the tokens: the likeliest at each step."""
    module.reset()
    begin = time.perf_counter()
    found = [int(np.argmax(module.forward(prompt[None], np.arange(len(prompt)))[0][0, -1]))]
    middle = time.perf_counter()
    for position in range(len(prompt), len(prompt) + tokens):
        logits = module.forward(np.array([[found[-1]]]), np.array([position]))[0]
        found.append(int(np.argmax(logits[0, -1])))
    return middle - begin, time.perf_counter() - middle, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    for name, value in (("--threads", 1), ("--rounds", 7), ("--tokens", 64), ("--prompt", 128)):
        parser.add_argument(name, type=int, default=value)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own, built_in = Path(folder) / "own.pte", Path(folder) / "built_in.pte"
        own_decoder.export(options.gguf, own, CONTEXT)
        export_gguf_to_pte(options.gguf, built_in, GGUFExportConfig(max_seq_len=CONTEXT))
        modules = [GGUFModule(path, options.gguf, threads=options.threads) for path in (own, built_in)]
        prompt = np.arange(options.prompt) % 200 + 5
        ratios: list[tuple[float, float]] = []
        for turn in range(options.rounds + 1):
            order = (0, 1) if turn % 2 else (1, 0)
            times = {i: timed(modules[i], prompt, options.tokens) for i in order}
            if times[0][2] != times[1][2]:
                raise SystemExit("the two decoders give different tokens")
            if turn:  # the first warms up
                ratios.append((times[1][0] / times[0][0], times[1][1] / times[0][1]))
    print(f"{options.gguf.name}, {options.threads} threads, {options.rounds} rounds: built-in time / own time")
    for column, what in enumerate((f"prefill of {options.prompt}", "decode")):
        values = sorted(pair[column] for pair in ratios)
        print(f"{what}: {statistics.median(values):.3f} ({values[0]:.3f} .. {values[-1]:.3f})")


if __name__ == "__main__":
    main()
