#!/usr/bin/env python3
"""Writes the GGUF files that are measured, several at a time: on the GPU machine, which cannot be sent gigabytes.

    python3 benchmarks/cuda/make_models.py DIR [--models qwen3-0.6b ...] [--types q8_0 ...] [--jobs 8]

Needs numpy, the package `gguf` and, for K quantisations, our library. Files that are there already stay. Each is
written by a process of its own, so that one that ends badly costs one file: its last words are shown, and the exit
code is 1.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.models import MODELS, REAL, Model

LAST_LINES = 12


def write(path: Path, model: Model, kind: str, fused: bool) -> None:
    """Writes one file, under another name until it is whole."""
    from tests.support.make_gguf import write_gguf

    part = path.with_suffix(".part")
    write_gguf(part, type=kind, **model.where, **({"fuse_qkv": True} if fused else {}))
    part.rename(path)


def written(folder: Path, model: Model, kind: str, fused: bool) -> tuple[bool, str]:
    """Has a process write one file: whether it is there, and what there is to say."""
    path = model.gguf(folder, kind, fused)
    if path.exists():
        return True, f"{path.name}: is there"
    began = time.perf_counter()
    command = [sys.executable, __file__, str(folder), "--only", model.name, kind, "fused" if fused else "apart"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    seconds = time.perf_counter() - began
    if done.returncode == 0 and path.exists():
        return True, f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB in {seconds:.0f} s"
    last = "\n".join("    " + line for line in done.stdout.splitlines()[-LAST_LINES:])
    return False, f"{path.name}: FAILED after {seconds:.0f} s with exit code {done.returncode}\n{last}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", nargs="+", default=list(REAL), choices=list(MODELS))
    parser.add_argument("--types", nargs="+", help="of those of a model; all by default")
    parser.add_argument("--no-fused", action="store_true", help="without the files that llama.cpp alone reads")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--only", nargs=3, metavar=("MODEL", "TYPE", "FUSED"), help="one file, in this process")
    options = parser.parse_args()
    folder: Path = options.directory
    folder.mkdir(parents=True, exist_ok=True)
    if options.only:
        name, kind, fused = options.only
        write(MODELS[name].gguf(folder, kind, fused == "fused"), MODELS[name], kind, fused == "fused")
        return 0
    wanted = [
        (MODELS[name], kind, fused)
        for name in options.models
        for fused in ((False,) if options.no_fused else (False, True))
        for kind in (MODELS[name].fused if fused else MODELS[name].types)
        if not options.types or kind in options.types
    ]
    # The largest first, so that the last to end is not also the last to start.
    wanted.sort(key=lambda w: (w[0].size != "qwen3-4b", w[1] != "q4_k_m"))
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for done in as_completed([pool.submit(written, folder, *w) for w in wanted]):
            there, text = done.result()
            failed += not there
            print(text, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
