"""Exports Voxtral Realtime: `executorch-ggml export`, with random weights if there is no checkpoint.

    python runner/export_voxtral_rt.py --model Voxtral-Mini-4B-Realtime-2602 --dtype Q8_0 --output voxtral.pte

The graph becomes a `.pte`, the weights a GGUF of the same name beside it. Without --model: the real configuration with
random weights, to measure with. They are written as a stream, so 4 billion parameters take the memory of a few thousand
rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measured import measured

from executorch_ggml.speech.export import MAX_STEP, CheckpointExport, export_checkpoint
from executorch_ggml.speech.sources import random_sources
from executorch_ggml.speech.voxtral.config import VoxtralConfig
from executorch_ggml.speech.voxtral.export import export_voxtral, write_weights
from executorch_ggml.speech.voxtral.model import VoxtralRealtime


def export_random(output: Path, dtype: str, streaming: bool, max_seq_len: int | None) -> CheckpointExport:
    """The real configuration with random weights."""
    config = VoxtralConfig()
    model = VoxtralRealtime.meta(config, MAX_STEP, max_seq_len or (config.decoder.window + 1024 if streaming else 4096))
    result = export_voxtral(model, output, streaming=streaming)
    gguf = output.with_suffix(".gguf")
    return CheckpointExport("voxtral", result, gguf, write_weights(random_sources(model), gguf, dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description="Voxtral Realtime to a .pte and a .gguf")
    parser.add_argument(
        "--model", help="checkpoint folder (Mistral's or Hugging Face's layout); random weights without it"
    )
    parser.add_argument("--dtype", default="Q8_0", help="F32, F16, BF16, Q8_0, Q4_K, ... (default Q8_0)")
    parser.add_argument("--output", default="voxtral.pte", type=Path)
    parser.add_argument("--streaming", action="store_true", help="audio without end: the decoder's caches slide, too")
    parser.add_argument("--max-seq-len", type=int, help="positions (0.08 s each) of the decoder's caches")
    parser.add_argument("--delay-tokens", type=int, help="delay of the text in steps of 0.08 s")
    options = parser.parse_args()
    with measured() as report:
        if options.model:
            done = export_checkpoint(
                options.model,
                options.output,
                dtype=options.dtype,
                streaming=options.streaming,
                max_seq_len=options.max_seq_len,
                delay_tokens=options.delay_tokens,
            )
        else:
            done = export_random(options.output, options.dtype, options.streaming, options.max_seq_len)
        report(done)


if __name__ == "__main__":
    main()
