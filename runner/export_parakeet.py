"""Exports Parakeet TDT to a `.pte`.

    python runner/export_parakeet.py --model parakeet-tdt-0.6b-v3.nemo --dtype Q8_0 --output parakeet.pte

Without --model: the real configuration with random weights, to measure with.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time

from executorch_ggml.speech.parakeet.config import ParakeetConfig
from executorch_ggml.speech.parakeet.convert import load_parakeet
from executorch_ggml.speech.parakeet.export import export_parakeet
from executorch_ggml.speech.parakeet.model import Parakeet


def main() -> None:
    parser = argparse.ArgumentParser(description="Parakeet TDT to a .pte")
    parser.add_argument("--model", help=".nemo file, or folder in Hugging Face's layout; random weights without it")
    parser.add_argument("--dtype", default="F32", help="F32, F16, BF16, Q8_0, Q4_K, ... (default F32)")
    parser.add_argument("--output", default="parakeet.pte")
    parser.add_argument("--max-seconds", type=float, default=40.0, help="longest piece of audio in one call")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("executorch_ggml").setLevel(logging.INFO)
    start = time.perf_counter()
    frames = round(options.max_seconds * 100)
    if options.model:
        model, pieces = load_parakeet(options.model, frames)
    else:
        model, pieces = Parakeet.random(ParakeetConfig(), frames), []
    result = export_parakeet(model, options.output, dtype=options.dtype, vocabulary=pieces)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seconds = f"{time.perf_counter() - start:.0f} s ({time.process_time():.0f} s of CPU time)"
    print(f"{result.path}: {result.bytes / 1e6:.1f} MB in {seconds}, peak memory {peak:.1f} GB")
    for name, count in result.nodes.items():
        print(f"  {name}: one delegate of {count} operators; outside: {', '.join(result.outside[name]) or 'nothing'}")


if __name__ == "__main__":
    main()
