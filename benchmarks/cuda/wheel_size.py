#!/usr/bin/env python3
"""How large the CUDA wheel for every architecture would be, from a sample of ggml-cuda's files.

    python3 benchmarks/cuda/wheel_size.py ALL --library libggml-cuda.so --ours libetggml-cuda.so

ALL: a build folder for all architectures that has some of the objects. Library: complete, of one architecture that is
among them. The sample says how large each architecture's machine code (and PTX) is beside that of the library's, for
each kind of file; the library, how much it has altogether. nvcc has compressed both; a wheel makes the rest smaller.
Ours: the module of csrc/cuda, for the architectures of wheels/cuda.toml. Exits 1 if the wheel of wheels/cuda.toml would
have more than 100 MB.
"""

from __future__ import annotations

import argparse
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections import Counter, defaultdict
from pathlib import Path

LIMIT = 100e6
_KIND = re.compile(r"^(fattn-mma|fattn-tile|fattn-vec|mmq-instance|mmf-instance)")
_MAGIC = struct.pack("<I", 0xBA55ED50)
_PTX = 1


def code(path: Path) -> Counter[str]:
    """Bytes by architecture, of the fat binaries in an object or library: "sm_90", "PTX 100"."""
    data, found, at = path.read_bytes(), Counter[str](), 0
    while (at := data.find(_MAGIC, at)) >= 0:
        header, size = struct.unpack_from("<HQ", data, at + 6)
        at, end = at + header, at + header + size
        while at < end:
            kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
            (architecture,) = struct.unpack_from("<I", data, at + 28)
            found[f"PTX {architecture}" if kind == _PTX else f"sm_{architecture}"] += header + size
            at += header + size
    return found


def packed_rest(library: Path) -> int:
    """What the wheel holds of the library besides machine code."""
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "library.so"
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, library], check=True)
        without = Path(folder) / "rest.so"
        subprocess.run(["objcopy", "--remove-section", ".nv_fatbin", stripped, without], check=True)
        return len(zlib.compress(without.read_bytes(), 6))


def packed(library: Path) -> int:
    """What the wheel holds of a library altogether."""
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "library.so"
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, library], check=True)
        return len(zlib.compress(stripped.read_bytes(), 6))


def wheel_architectures() -> set[str]:
    """Those of wheels/cuda.toml, as code() names them."""
    text = (Path(__file__).resolve().parents[2] / "wheels" / "cuda.toml").read_text()
    line = re.search(r'^CMAKE_CUDA_ARCHITECTURES = "(.+)"', text, re.MULTILINE)
    assert line
    found = set[str]()
    for item in line[1].split(";"):
        number, _, form = item.partition("-")
        found |= {f"sm_{number}"} if form != "virtual" else set()
        found |= {f"PTX {number}"} if form != "real" else set()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("all", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--ours", type=Path)
    options = parser.parse_args()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    files: Counter[str] = Counter()
    for path in options.all.rglob("*.cu.o"):
        match = _KIND.match(path.name)
        kind = match[1] if match else "other"
        kinds[kind] += code(path)
        files[kind] += 1
    ((one, size),) = code(options.library).items()
    names = sorted({name for sizes in kinds.values() for name in sizes}, key=lambda n: (int(re.sub(r"\D", "", n)), n))
    print(f"| beside {one} | files | " + " | ".join(names) + " | all |\n" + "|---" * (len(names) + 3) + "|")
    for kind, sizes in sorted(kinds.items()):
        cells = [f"{sizes[name] / sizes[one]:.2f}" for name in names]
        print(f"| {kind} | {files[kind]} | {' | '.join(cells)} | {sum(sizes.values()) / sizes[one]:.2f} |")
    # Kinds alike: their factors differ by less than the sample would tell.
    share = {name: sum(s[name] / s[one] for s in kinds.values()) / len(kinds) for name in names}
    rest = packed_rest(options.library)
    print(f"\n{one} of the library: {size / 1e6:.1f} MB; everything else of it in a wheel: {rest / 1e6:.1f} MB\n")
    ours = packed(options.ours) if options.ours else 0
    has = code(options.ours) if options.ours else Counter[str]()
    print(f"our module for {', '.join(has)}: {ours / 1e6:.1f} MB in a wheel\n")

    def estimate(wanted: set[str]) -> float:
        # Of ours, what is not wanted counts as nothing and what is not there as it does in ggml-cuda.
        change = sum(share[n] * has[one] * ((n in wanted) - (n in has)) for n in names)
        return rest + size * sum(share[n] for n in wanted) + ours + (change if ours else 0)

    released = wheel_architectures()
    for title, wanted in {
        "everything in the table": set(names),
        "without sm_86, sm_89": set(names) - {"sm_86", "sm_89"},
        "wheels/cuda.toml": released,
    }.items():
        print(f"* {title}: about {estimate(wanted) / 1e6:.0f} MB")
    return int(estimate(released) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
