#!/usr/bin/env python3
"""How large the CUDA wheel for every architecture would be, from a sample of ggml-cuda's files.

    python3 benchmarks/cuda/wheel_size.py ALL --library libggml-cuda.so

ALL: a build folder for all architectures that has some of the objects. Library: complete, of one architecture that is
among them. The sample says how large each architecture's machine code (and PTX) is beside that of the library's, for
each kind of file; the library, how much it has altogether. nvcc has compressed both; a wheel makes the rest smaller.
Exits 1 beyond 100 MB.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("all", type=Path)
    parser.add_argument("--library", type=Path, required=True)
    options = parser.parse_args()
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    files: Counter[str] = Counter()
    for path in options.all.rglob("*.cu.o"):
        match = _KIND.match(path.name)
        kind = match[1] if match else "other"
        kinds[kind] += code(path)
        files[kind] += 1
    ((one, size),) = code(options.library).items()
    names = sorted(
        {name for sizes in kinds.values() for name in sizes}, key=lambda n: int(n.split("_")[-1].split()[-1])
    )
    print(f"| beside {one} | files | " + " | ".join(names) + " | all |\n" + "|---" * (len(names) + 3) + "|")
    for kind, sizes in sorted(kinds.items()):
        cells = [f"{sizes[name] / sizes[one]:.2f}" for name in names]
        print(f"| {kind} | {files[kind]} | {' | '.join(cells)} | {sum(sizes.values()) / sizes[one]:.2f} |")
    # Kinds alike: their factors differ by less than the sample would tell.
    share = {name: sum(s[name] / s[one] for s in kinds.values()) / len(kinds) for name in names}
    rest = packed_rest(options.library)
    print(f"\n{one} of the library: {size / 1e6:.1f} MB; everything else of it in a wheel: {rest / 1e6:.1f} MB\n")
    total = 0.0
    for left_out in ((), ("sm_86", "sm_89"), ("sm_86", "sm_89", "sm_100"), ("sm_86", "sm_89", "sm_120")):
        estimate = rest + size * sum(share[name] for name in names if name not in left_out)
        total = total or estimate
        print(f"* {'without ' + ', '.join(left_out) if left_out else 'all'}: about {estimate / 1e6:.0f} MB")
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
