"""Exports Voxtral Realtime: the graph as a `.pte`, the weights as a GGUF of the same name beside it.

    python runner/export_voxtral_rt.py --model Voxtral-Mini-4B-Realtime-2602 --dtype Q8_0 --output voxtral.pte

Without --model: the real configuration with random weights, to measure with. The graph is made on the meta device and
weights are written as a stream, so 4 billion parameters take the memory of a few thousand rows.
"""

from __future__ import annotations

import argparse
import logging
import resource
import time
from pathlib import Path

from executorch_ggml.speech.sources import random_sources
from executorch_ggml.speech.voxtral.config import VoxtralConfig
from executorch_ggml.speech.voxtral.convert import open_voxtral
from executorch_ggml.speech.voxtral.export import export_voxtral, write_weights
from executorch_ggml.speech.voxtral.model import VoxtralRealtime


def spent(start: tuple[float, float]) -> str:
    """Time since then, and the most memory that this process ever had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    return f"{wall:.0f} s ({cpu:.0f} s of CPU time), peak memory {peak:.1f} GB"


def main() -> None:
    parser = argparse.ArgumentParser(description="Voxtral Realtime to a .pte and a .gguf")
    parser.add_argument(
        "--model", help="checkpoint folder (Mistral's or Hugging Face's layout); random weights without it"
    )
    parser.add_argument("--dtype", default="Q8_0", help="F32, F16, BF16, Q8_0, Q4_K, ... (default Q8_0)")
    parser.add_argument("--output", default="voxtral.pte", type=Path)
    parser.add_argument("--streaming", action="store_true", help="audio without end: the decoder's caches slide, too")
    parser.add_argument("--max-seq-len", type=int, help="positions (0.08 s each) of the decoder's caches")
    parser.add_argument("--max-step", type=int, default=64, help="tokens of audio in one call of the encoder")
    parser.add_argument("--delay-tokens", type=int, help="delay of the text in steps of 0.08 s")
    parser.add_argument("--graph-only", action="store_true", help="leave the weights that are there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("executorch_ggml").setLevel(logging.INFO)
    start = time.perf_counter(), time.process_time()
    checkpoint = open_voxtral(options.model, delay_tokens=options.delay_tokens) if options.model else None
    config = checkpoint.config if checkpoint else VoxtralConfig()
    rows = options.max_seq_len or (config.decoder.window + 1024 if options.streaming else 4096)
    model = VoxtralRealtime.meta(config, options.max_step, rows)
    pieces = checkpoint.pieces if checkpoint else []
    result = export_voxtral(model, options.output, vocabulary=pieces, streaming=options.streaming)
    print(f"{result.path}: {result.bytes / 1e6:.2f} MB in {spent(start)}")
    for name, count in result.nodes.items():
        print(f"  {name}: one delegate of {count} operators; outside: {', '.join(result.outside[name]) or 'nothing'}")
    if not options.graph_only:
        start = time.perf_counter(), time.process_time()
        path = options.output.with_suffix(".gguf")
        size = write_weights(checkpoint.sources(model) if checkpoint else random_sources(model), path, options.dtype)
        print(f"{path}: {size / 1e9:.2f} GB in {spent(start)}")


if __name__ == "__main__":
    main()
