#!/usr/bin/env python3
"""How large the CUDA wheel for every architecture would be, from a sample of ggml-cuda's files.

    python3 benchmarks/cuda/wheel_size.py ONE ALL --library libggml-cuda.so

ONE and ALL are build folders for one architecture and for all; ALL needs some of the objects only. Files are put into
kinds by name; a kind's machine code grows in ALL as that of its sample does. The library of ONE says how much machine
code there is altogether, which the linker does not change, and what the rest takes. A kind without a sample grows as
all samples together do. Exits 1 beyond 100 MB.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import zlib
from collections import defaultdict
from pathlib import Path

LIMIT = 100e6
_KIND = re.compile(r"^(fattn-mma|fattn-tile|fattn-vec|mmq-instance|mmf-instance|mmv[qf]|binbcast)")


def kind_of(name: str) -> str:
    match = _KIND.match(name)
    return match[1] if match else "other"


def machine_code(path: Path) -> int:
    """Bytes of the section `.nv_fatbin`, as compressed by nvcc."""
    text = subprocess.run(["size", "-A", path], check=True, capture_output=True, text=True).stdout
    match = re.search(r"^\.nv_fatbin\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0


def objects(folder: Path) -> dict[str, int]:
    return {path.name: machine_code(path) for path in folder.rglob("*.cu.o")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("all", type=Path)
    parser.add_argument("--library", type=Path, required=True, help="libggml-cuda.so of one architecture, complete")
    options = parser.parse_args()
    one, every = objects(options.one), objects(options.all)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # files, bytes; sampled in one, in all
    for name, size in one.items():
        entry = sums[kind_of(name)]
        entry[0] += 1
        entry[1] += size
        if name in every:
            entry[2] += size
            entry[3] += every[name]
    sampled = [sum(entry[i] for entry in sums.values()) for i in (2, 3)]
    if not sampled[0]:
        parser.error("no file was compiled for both")
    print("| kind | files | MB for one | sampled, MB | for all, MB | factor |\n|---|---|---|---|---|---|")
    grown = 0.0
    for kind, (count, size, part, larger) in sorted(sums.items(), key=lambda item: -item[1][1]):
        factor = larger / part if part else sampled[1] / sampled[0]
        grown += size * factor
        print(f"| {kind} | {count} | {size / 1e6:.2f} | {part / 1e6:.2f} | {larger / 1e6:.2f} | {factor:.2f} |")
    known = sum(one.values())
    library = options.library.read_bytes()
    fatbin = machine_code(options.library)
    packed = len(zlib.compress(library, 6))
    code = fatbin * grown / known
    estimate = packed - fatbin + code  # machine code does not shrink any further; the rest is as it is
    print(f"\nlibrary for one: {len(library) / 1e6:.1f} MB, code {fatbin / 1e6:.1f}; in a wheel {packed / 1e6:.1f}")
    print(
        f"machine code of the objects seen {known / 1e6:.1f} MB; of all files for all architectures {code / 1e6:.1f} MB"
    )
    print(f"wheel for all: about {estimate / 1e6:.0f} MB (limit {LIMIT / 1e6:.0f})")
    return int(estimate > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
