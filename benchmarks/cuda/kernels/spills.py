#!/usr/bin/env python3
"""Kernels of ours that spill registers, which is slow: all of L1 is shared memory, so what they spill goes to L2.

    python3 benchmarks/cuda/kernels/spills.py [--arch sm_90] [FILE ...]

Compiles csrc/cuda/*.cu (or the files given) and prints a table: kernel, registers, bytes that it stores and loads
again. ptxas is at the limit of some kernels, and what a change makes of them cannot be told from the change. Needs
nvcc, no GPU.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENTRY = re.compile(r"Compiling entry function '(\S+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


def compile_file(source: Path, arch: str, ggml: Path) -> str:
    """What ptxas says of a file."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["nvcc", "-std=c++17", "-O3", f"-arch={arch}", "-Xptxas", "-v", "-c", str(source)]
        command += [f"-I{p}" for p in (ROOT / "csrc", ROOT / "csrc/ggml_ext", ggml)] + ["-o", f"{folder}/kernels.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stderr


def kernels(report: str) -> list[tuple[str, int, int, int]]:
    """(name, registers, bytes stored, bytes loaded) of each kernel in a report."""
    found, name, spilled = [], "", (0, 0)
    for line in report.splitlines():
        if match := ENTRY.search(line):
            name = match[1]
        elif match := SPILLS.search(line):
            spilled = int(match[1]), int(match[2])
        elif match := REGISTERS.search(line):
            found.append((name, int(match[1]), *spilled))
    names = subprocess.run(["c++filt", *(f[0] for f in found)], capture_output=True, text=True, check=True).stdout
    return [(text.split("(etggml")[0], *f[1:]) for text, f in zip(names.splitlines(), found, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--ggml", type=Path, default=ROOT / "build/third-party/llama.cpp/ggml/include")
    options = parser.parse_args()
    for tool in ("nvcc", "c++filt"):
        if shutil.which(tool) is None:
            parser.error(f"{tool} is not on PATH")
    files = options.files or sorted((ROOT / "csrc/cuda").glob("*.cu"))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        reports = list(pool.map(lambda f: compile_file(f, options.arch, options.ggml), files))
    everything = [k for report in reports for k in kernels(report)]
    print("| kernel | registers | stored | loaded |\n|---|---|---|---|")
    for name, registers, stored, loaded in everything:
        if stored or loaded:
            print(f"| `{name.replace('void etggml::cuda::', '')}` | {registers} | {stored} | {loaded} |")
    print(f"\n{sum(1 for k in everything if k[2] or k[3])} of {len(everything)} kernels spill ({options.arch})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
