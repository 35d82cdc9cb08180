#!/usr/bin/env python3
"""Decode and prefill speed of ours and of llama.cpp on a GPU: same GGUF, same ggml, one interleaved run.

    python3 benchmarks/cuda/decode.py DIR --bench BENCHMARK_LLM --peer LLAMA_BENCH [--models qwen3-0.6b ...]

DIR holds what export_models.py and make_models.py wrote. Every round runs each contestant for each test, in an order
that is turned round from one round to the next; a process repeats a test a few times after a warm-up. A cell is the
median of all repetitions (least .. most), a ratio that of the medians. Contestants: ours with four bytes back for each
token and with all logits copied; llama.cpp as it comes (flash attention, CUDA graphs; it copies all logits), with
GGML_CUDA_GRAPH_OPT=1, and with q, k and v in one tensor of the file, both without and with that setting. The best of
these is "strongest". Exits 1 when a process failed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.contestants import STRONG, Contestant, ContestantError, Llama, Ours, Workload
from benchmarks.cuda.models import MODELS, Model

TESTS = ("tg128", "tg128@4096", "tg128@16384", "pp5", "pp512", "pp4096")


def contestants(model: Model, kind: str, options: argparse.Namespace) -> list[Contestant]:
    folder, layers = options.directory, 0 if options.device == "cpu" else 99
    found: list[Contestant] = []
    for logits in ("argmax", "full", *(["sampled"] if options.sampled else [])):
        found.append(
            Ours(
                f"ours, {logits}",
                program=options.bench,
                pte=model.pte(folder),
                gguf=model.gguf(folder, kind),
                device=options.device,
                logits=logits,
                threads=options.threads,
            )
        )
    files = [("llama.cpp", model.gguf(folder, kind))]
    if kind in model.fused and not options.no_fused:
        files.append(("llama.cpp, fused QKV", model.gguf(folder, kind, fused=True)))
    for name, gguf in files:
        for title, environment in ((name, {}), (f"{name}, GRAPH_OPT", STRONG)):
            found.append(
                Llama(
                    title,
                    program=options.peer,
                    gguf=gguf,
                    layers=layers,
                    environment=environment,
                    threads=options.threads,
                )
            )
    return found


def run(sides: list[Contestant], tests: list[Workload], rounds: int, repeat: int) -> list[str]:
    """Measures; what failed."""
    problems: dict[str, str] = {}
    for number in range(rounds):
        for test in tests:
            for side in sides if number % 2 == 0 else sides[::-1]:
                if not side.takes(test) or f"{side.name}, {test}" in problems:
                    continue
                try:
                    side.measure(test, repeat)
                except (ContestantError, ValueError, OSError) as error:
                    problems[f"{side.name}, {test}"] = str(error)
    return [f"{where}: {text}" for where, text in problems.items()]


def cell(rates: list[float]) -> str:
    if not rates:
        return "-"
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} .. {max(rates):,.0f})"


def ratios(sides: list[Contestant], test: Workload) -> dict[str, float]:
    """Medians of ours over llama.cpp's: to its default and to its strongest, by what leaves with a token."""
    medians = {s.name: statistics.median(s.rates[test]) for s in sides if s.rates.get(test)}
    peers = {name: rate for name, rate in medians.items() if name.startswith("llama.cpp")}
    found = {}
    for side in ("argmax", "full"):
        if f"ours, {side}" in medians and peers:
            mine = medians[f"ours, {side}"]
            if "llama.cpp" in peers:
                found[f"{side} / default"] = mine / peers["llama.cpp"]
            found[f"{side} / strongest"] = mine / max(peers.values())
    return found


def table(sides: list[Contestant], tests: list[Workload]) -> str:
    columns = ["argmax / default", "argmax / strongest", "full / default", "full / strongest"]
    lines = ["| tok/s | " + " | ".join([*(s.name for s in sides), *columns]) + " |"]
    lines.append("|---" * (1 + len(sides) + len(columns)) + "|")
    for test in tests:
        found = ratios(sides, test)
        cells = [cell(s.rates.get(test, [])) for s in sides]
        cells += [f"**{found[c]:.2f}**" if c in found else "-" for c in columns]
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def first_token(sides: list[Contestant]) -> str:
    """Milliseconds until a prompt of five tokens has been read."""
    test = Workload("pp", 5)
    texts = [f"{s.name} {5e3 / statistics.median(s.rates[test]):.2f} ms" for s in sides if s.rates.get(test)]
    return f"A prompt of 5 tokens takes: {', '.join(texts)}." if texts else ""


def graphs(sides: list[Contestant], tests: list[Workload]) -> str:
    """Of decoding: how large our graph is, and how often it was replayed."""
    lines = []
    for side in sides:
        if isinstance(side, Ours):
            lines += [f"{side.name}, {t}: {side.graphs[t]}." for t in tests if t.kind == "tg" and t in side.graphs]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bench", type=Path, required=True, help="our benchmark_llm")
    parser.add_argument("--peer", type=Path, required=True, help="llama-bench")
    parser.add_argument("--models", nargs="+", default=["qwen3-0.6b"], choices=list(MODELS))
    parser.add_argument("--types", nargs="+", help="of the weights; all but f32 of each model by default")
    parser.add_argument("--tests", nargs="+", default=list(TESTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of a process")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sampled", action="store_true", help="ours with tokens drawn, too")
    parser.add_argument(
        "--no-fused", action="store_true", help="without llama.cpp's files of fused QKV (make_models.py)"
    )
    parser.add_argument("--raw", type=Path, help="every rate, as JSON")
    options = parser.parse_args()
    tests = [Workload.parse(t) for t in options.tests]
    raw: dict[str, dict[str, dict[str, list[float]]]] = {}
    problems: list[str] = []
    print(f"{options.rounds} rounds of {options.repeat} repetitions, device `{options.device}`.\n")
    for name in options.models:
        model = MODELS[name]
        for kind in options.types or [t for t in model.types if t != "f32"]:
            sides = contestants(model, kind, options)
            problems += [f"{name} {kind}: {p}" for p in run(sides, tests, options.rounds, options.repeat)]
            print(f"### {name} {kind}\n\n{table(sides, tests)}\n\n{first_token(sides)}\n", flush=True)
            print(f"{graphs(sides, tests)}\n", flush=True)
            raw[f"{name} {kind}"] = {s.name: {str(t): r for t, r in s.rates.items()} for s in sides}
            if options.raw:
                options.raw.write_text(json.dumps(raw))
    for problem in problems:
        print(f"FAILED {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
