#!/usr/bin/env python3
"""Writes the GGUF files that are measured, several at a time: on the GPU machine, which cannot be sent gigabytes.

    python3 benchmarks/cuda/make_models.py DIR [--models qwen3-0.6b ...] [--jobs 8]

Needs numpy, the package `gguf` and, for K quantisations, our library. Files that are there already stay.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.models import MODELS, REAL, Model  # noqa: E402


def write(folder: Path, model: Model, kind: str, fused: bool) -> str:
    """Writes one file, under another name until it is whole."""
    from benchmarks.make_gguf import write_gguf

    path = model.gguf(folder, kind, fused)
    if path.exists():
        return f"{path.name}: is there"
    began = time.perf_counter()
    part = path.with_suffix(".part")
    write_gguf(part, type=kind, **model.where, **({"fuse_qkv": True} if fused else {}))
    part.rename(path)
    return f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB in {time.perf_counter() - began:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", nargs="+", default=list(REAL), choices=list(MODELS))
    parser.add_argument("--jobs", type=int, default=8)
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    wanted = [
        (MODELS[name], kind, fused)
        for name in options.models
        for fused in (False, True)
        for kind in (MODELS[name].fused if fused else MODELS[name].types)
    ]
    # The largest first, so that the last to end is not also the last to start.
    wanted.sort(key=lambda w: (w[0].size != "qwen3-4b", w[1] != "q4_k_m"))
    with ProcessPoolExecutor(options.jobs) as pool:
        for done in [pool.submit(write, options.directory, *w) for w in wanted]:
            print(done.result(), flush=True)


if __name__ == "__main__":
    main()
