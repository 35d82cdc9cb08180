"""Loads and runs damaged copies of host_program(): python pte_host_child.py PTE SCRATCH COUNT SEED.

Damage lies in the tables that ExecuTorch reads, not in the payload. Prints each index before, so that the parent knows
where a crash was.
"""

from __future__ import annotations

import collections
import random
import struct
import sys
from pathlib import Path

import numpy as np

from executorch_ggml.errors import GgmlError
from executorch_ggml.runtime.program import Program

INTERESTING = [0, 1, 2, 3, 4, 5, 7, 8, 16, 100, 127, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1]


def damage(content: bytes, end: int, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        width = rng.choice([1, 2, 4, 4, 4])
        at = rng.randrange(32, end - width)
        at -= at % width
        (old,) = struct.unpack_from({1: "<B", 2: "<H", 4: "<I"}[width], damaged, at)
        new = rng.choice([*INTERESTING, old + 1, old - 1, old + 4, old ^ 1 << rng.randrange(8 * width)])
        damaged[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(damaged)


def outcome(path: Path) -> str:
    try:
        with Program(path, threads=1) as program:
            for _ in range(2):
                program(np.ones((2, 8), np.float32), np.arange(2))
    except GgmlError as error:
        return type(error).__name__ if str(error) else "no message"
    return "ok"


def main() -> None:
    source, scratch, count, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    content = source.read_bytes()
    assert content[8:12] == b"eh00"
    (end,) = struct.unpack_from("<Q", content, 16)  # of the FlatBuffer
    counts: collections.Counter[str] = collections.Counter()
    for index in range(count):
        print("at", index, flush=True)
        scratch.write_bytes(damage(content, end, random.Random(seed * 1_000_003 + index)))
        counts[outcome(scratch)] += 1
    print("outcomes", *(f"{name}={n}" for name, n in counts.items()))


if __name__ == "__main__":
    main()
