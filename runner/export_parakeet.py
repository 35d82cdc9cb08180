"""Exports Parakeet TDT to a `.pte`: `executorch-ggml export`, with random weights if there is no checkpoint.

    python runner/export_parakeet.py --model parakeet-tdt-0.6b-v3.nemo --dtype Q8_0 --output parakeet.pte

Without --model: the real configuration with random weights, to measure with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measured import measured

from executorch_ggml.speech.export import CheckpointExport, export_checkpoint
from executorch_ggml.speech.parakeet.config import ParakeetConfig
from executorch_ggml.speech.parakeet.export import export_parakeet
from executorch_ggml.speech.parakeet.model import Parakeet


def main() -> None:
    parser = argparse.ArgumentParser(description="Parakeet TDT to a .pte")
    parser.add_argument("--model", help=".nemo file, or folder in Hugging Face's layout; random weights without it")
    parser.add_argument("--dtype", default="F32", help="F32, F16, BF16, Q8_0, Q4_K, ... (default F32)")
    parser.add_argument("--output", default="parakeet.pte", type=Path)
    parser.add_argument("--max-seconds", type=float, default=40.0, help="longest piece of audio in one call")
    options = parser.parse_args()
    with measured() as report:
        if options.model:
            done = export_checkpoint(
                options.model, options.output, dtype=options.dtype, max_seconds=options.max_seconds
            )
        else:
            model = Parakeet.random(ParakeetConfig(), round(options.max_seconds * 100))
            done = CheckpointExport("parakeet", export_parakeet(model, options.output, dtype=options.dtype))
        report(done)


if __name__ == "__main__":
    main()
