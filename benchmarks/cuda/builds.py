#!/usr/bin/env python3
"""Speed of one build of this project beside another on the same files, in turns: old, new, new, old.

    python benchmarks/cuda/builds.py MODEL.pte MODEL.gguf before=FOLDER after=FOLDER [--device cuda] [--tests tg128 pp5]

A folder has `bin/benchmark_llm` and `lib/`, as in an installed package. Ratios are to the first build. Give the same
folder twice to see the noise of the machine. One number for a turn: the median of its repetitions.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from benchmarks.cuda.contestants import ContestantError, Ours, Workload  # noqa: E402


def build(text: str, options: argparse.Namespace) -> Ours:
    """NAME=FOLDER, with libraries from that folder before all others."""
    name, _, place = text.partition("=")
    folder = Path(place).resolve()
    program, library = folder / "bin" / "benchmark_llm", folder / "lib" / "libexecutorch_ggml.so"
    for path in (program, library):
        if not path.is_file():
            raise SystemExit(f"{text!r}: {path} is missing; give NAME=FOLDER with bin/ and lib/ in the folder")
    searched = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(searched), "EXECUTORCH_GGML_LIBRARY": str(library)}
    device, threads = options.device, options.threads
    return Ours(
        name,
        program=program,
        pte=options.pte,
        gguf=options.gguf,
        device=device,
        threads=threads,
        environment=environment,
    )


def turns(sides: list[Ours], test: Workload, rounds: int, repeat: int) -> dict[str, list[float]]:
    """Tokens per second of every build: the median of each turn."""
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else sides[::-1]:
            rates[side.name].append(statistics.median(side.run(test, repeat)))
    return rates


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pte", type=Path)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("builds", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tests", nargs="+", default=["tg128", "pp5"])
    parser.add_argument("--rounds", type=int, default=8, help="turns of each build")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of a turn")
    options = parser.parse_args()
    sides = [build(text, options) for text in options.builds]
    if len({side.name for side in sides}) != len(sides) or len(sides) < 2:
        parser.error("give two builds or more, each with a name of its own")
    first, *others = sides
    print(f"| test | {first.name}, tok/s | build | tok/s | ratio | by turn |\n|---|---|---|---|---|---|")
    try:
        for test in map(Workload.parse, options.tests):
            rates = turns(sides, test, options.rounds, options.repeat)
            base = statistics.median(rates[first.name])
            for side in others:
                rate = statistics.median(rates[side.name])
                pairs = [b / a for a, b in zip(rates[first.name], rates[side.name], strict=True)]
                each = ", ".join(f"{p:.3f}" for p in pairs)
                print(
                    f"| {test} | {base:,.1f} | {side.name} | {rate:,.1f} | **{rate / base:.3f}** | {each} |", flush=True
                )
    except (ContestantError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
