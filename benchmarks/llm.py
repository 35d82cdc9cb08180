#!/usr/bin/env python3
"""Decode and prefill speed against llama.cpp: same GGUF, same ggml commit, one interleaved run.

    python benchmarks/llm.py model.gguf [--threads 1 2] [--rounds 7] [--tests tg128 pp512 tg128@2048]

Every round runs llama-bench and benchmark_llm one after the other for each test, in alternating order; the ratio is the
median of the rounds' ratios, so that both sides of each ratio saw the same minute of a shared machine. Both copy the
logits of a decode step to the caller (llama-bench always does; ours with --logits full). Exit codes and token counts
are checked before a time counts. "Of bandwidth" is the bytes of weights that a token reads, over what this machine
reads from memory with the same number of threads (measured here, with numpy's sum).
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks import peer  # noqa: E402


@dataclass(frozen=True)
class Test:
    """`tg128`: decode 128 tokens; `pp512`: a prompt of 512; `@2048`: after that many tokens in the cache."""

    name: str

    @property
    def parts(self) -> tuple[str, int, int]:
        match = re.fullmatch(r"(tg|pp)(\d+)(?:@(\d+))?", self.name)
        if not match:
            raise SystemExit(f"{self.name!r}: a test is written tg128, pp512 or tg128@2048")
        return match[1], int(match[2]), int(match[3] or 0)


def bandwidth(threads: int, megabytes: int = 512) -> float:
    """Bytes per second that `threads` threads read from memory together: the best of five sums over a buffer each."""
    buffers = [np.ones(megabytes * 1_000_000 // 8) for _ in range(threads)]
    best = 0.0
    for _ in range(5):
        workers = [threading.Thread(target=buffer.sum) for buffer in buffers]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, threads * buffers[0].nbytes / (time.perf_counter() - started))
    return best


def ours(program: Path, pte: Path, gguf: Path, test: Test, threads: int) -> float:
    kind, count, depth = test.parts
    prompt, decode = (count, 0) if kind == "pp" else (1, count)
    command = [
        program,
        pte,
        "--gguf",
        gguf,
        "--threads",
        threads,
        "--prompt-len",
        prompt,
        "--n-decode",
        decode,
        "--depth",
        depth,
    ]
    command += ["--repeat", 1, "--warmup", 0 if depth else 1, "--logits", "full", "--json"]
    row = json.loads(subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout)
    if (row["prompt_len"], row["n_decode"], row["depth"], row["threads"]) != (prompt, decode, depth, threads):
        raise RuntimeError(f"benchmark_llm measured something else: {row}")
    return float(row["prompt_tok_s" if kind == "pp" else "decode_tok_s"]["median"])


def theirs(tools: peer.Peer, gguf: Path, test: Test, threads: int) -> float:
    kind, count, depth = test.parts
    return tools.bench(gguf, threads=threads, depth=depth, **({"prompt": count} if kind == "pp" else {"decode": count}))


def find_benchmark_llm() -> Path:
    from executorch_ggml.runtime._load import library_path

    program = Path(library_path()).parent.parent / "bin" / "benchmark_llm"
    if not program.is_file():
        raise SystemExit(f"{program} is missing: build the package first (make setup)")
    return program


def export(gguf: Path, tests: list[Test], pte: Path) -> Path:
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte

    longest = max(count + depth for _, count, depth in (test.parts for test in tests))
    export_gguf_to_pte(gguf, pte, GGUFExportConfig(max_seq_len=longest + 8))
    return pte


def measure(
    rounds: int, program: Path, tools: peer.Peer, pte: Path, gguf: Path, test: Test, threads: int
) -> tuple[list[float], list[float]]:
    """(ours, theirs), tokens per second of each round; who goes first alternates."""
    left: list[float] = []
    right: list[float] = []
    for i in range(rounds):
        for mine in (True, False) if i % 2 == 0 else (False, True):
            if mine:
                left.append(ours(program, pte, gguf, test, threads))
            else:
                right.append(theirs(tools, gguf, test, threads))
    return left, right


def show(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tests", nargs="+", default=["tg128", "pp512", "tg128@2048"])
    parser.add_argument("--pte", type=Path, help="an export long enough for every test (default: export one now)")
    parser.add_argument("--program", type=Path, help="benchmark_llm (default: that of the installed package)")
    options = parser.parse_args()
    tests = [Test(name) for name in options.tests]
    program, tools = options.program or find_benchmark_llm(), peer.build()
    weights = options.gguf.stat().st_size
    print(f"{options.gguf.name}, {weights / 1e6:,.0f} MB; medians of {options.rounds} rounds (least .. most)\n")
    print(
        "| threads | test | executorch-ggml tok/s | llama.cpp tok/s | ratio | of bandwidth |\n|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        pte = options.pte or export(options.gguf, tests, Path(folder) / "model.pte")
        for threads in options.threads:
            peak = bandwidth(threads)
            for test in tests:
                left, right = measure(options.rounds, program, tools, pte, options.gguf, test, threads)
                ratios = [a / b for a, b in zip(left, right, strict=True)]
                share = "-"
                if test.parts[0] == "tg":
                    share = f"{100 * statistics.median(left) * weights / peak:.0f}% of {peak / 1e9:.1f} GB/s"
                cells = [str(threads), test.name, show(left), show(right), f"**{show(ratios)}**", share]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
