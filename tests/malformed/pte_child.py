"""Runs damaged copies of a `.pte` in a process of its own: python pte_child.py MODE PTE GGUF SCRATCH [COUNT SEED]

MODE flip: every byte of the first 4 kB, inverted; random: COUNT copies with a few random edits. Prints the index before
each, so that the parent knows where a crash was, and at the end the number of each outcome.
"""

from __future__ import annotations

import collections
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from executorch_ggml.errors import GgmlError
from executorch_ggml.runtime.program import Program

INTERESTING = [0, 1, 2, 3, 4, 8, 100, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


def flipped(content: bytes) -> Iterator[bytes]:
    for at in range(min(4096, len(content))):
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        yield bytes(damaged)


def edited(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    for index in range(count):
        rng = random.Random(seed * 1_000_003 + index)
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            at, kind = rng.randrange(len(content)), rng.randrange(5)
            if kind == 0:
                damaged[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                damaged[at] = rng.randrange(256)
            else:  # an aligned word of 2, 4 or 8 bytes: vtables, offsets and lengths, sizes
                width = 1 << (kind - 1)
                at -= at % width
                value = rng.choice(INTERESTING) % (1 << (8 * width))
                damaged[at : at + width] = value.to_bytes(width, "little")
        yield bytes(damaged[: len(content)])


def outcome(path: Path, gguf: str) -> str:
    x = np.ones((2, 8), np.float32)
    try:
        with Program(path, gguf, threads=1) as program:
            program.execute("forward", [x])
    except GgmlError as error:
        return type(error).__name__ if str(error) else "no message"
    return "ok"


def main() -> None:
    mode, pte, gguf, scratch = sys.argv[1:5]
    content, path = Path(pte).read_bytes(), Path(scratch)
    copies = flipped(content) if mode == "flip" else edited(content, int(sys.argv[5]), int(sys.argv[6]))
    counts: collections.Counter[str] = collections.Counter()
    for index, damaged in enumerate(copies):
        print("at", index, flush=True)
        path.write_bytes(damaged)
        started = time.monotonic()
        counts[outcome(path, gguf)] += 1
        if time.monotonic() - started > 10:
            counts["hang"] += 1
    print("outcomes", *(f"{name}={n}" for name, n in counts.items()))


if __name__ == "__main__":
    main()
