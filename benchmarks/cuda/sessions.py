#!/usr/bin/env python3
"""Python's `generate()` beside the C++ benchmark, GPU memory, and eight sessions on one copy of the weights.

    python3 benchmarks/cuda/sessions.py DIR --bench BENCHMARK_LLM [--model qwen3-0.6b] [--type q8_0] [--device cuda]

Memory is what the driver says is used beyond what was used before (`nvidia-smi`; on another device that part is left
out), beside what the program says of itself: weights, caches, plans. What remains of the first session is the CUDA
context, of the others a stream and cuBLAS. Exits 1 when Python is more than 3% behind C++, when sessions disagree, or
when they take as much as if each had weights of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.contestants import Ours, Workload
from benchmarks.cuda.models import MODELS

SESSIONS, TOKENS = 8, 128
PYTHON_BEHIND = 0.03


def used_memory(device: str) -> int | None:
    """Bytes used on the GPU, by anybody."""
    if not device.startswith("cuda"):
        return None
    index = device.partition(":")[2] or "0"
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", index]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()) * (1 << 20)


def difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def show(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def decode_rate(program: Any, count: int) -> tuple[float, list[int]]:
    """Tokens per second behind the first one, and the tokens."""
    from executorch_ggml.llm.text import generate

    program.reset()
    running = generate(program, [1], max_tokens=count + 1, ignore_end=True)
    times, seen = [], 0
    for _ in running:
        if len(running.tokens) != seen:
            times.append(time.perf_counter())
            seen = len(running.tokens)
    return (len(times) - 1) / (times[-1] - times[0]), running.tokens


@dataclass(frozen=True)
class Memory:
    """Bytes that a program says it holds."""

    weights: int
    caches: int
    plans: int

    @classmethod
    def of(cls, program: Any) -> Memory:
        info = program.info()
        caches = sum(state["bytes"] for state in info["states"])
        return cls(info["weights"]["bytes"], caches, info["plans"]["bytes"] + info["arena_bytes"])

    @property
    def own(self) -> int:
        """What sessions do not share."""
        return self.caches + self.plans


@dataclass(frozen=True)
class Eight:
    """Rate of all together, what each says it holds, what the driver says of the first and of the others, whether they
    chose the same tokens."""

    rate: float
    memory: Memory
    first: int | None
    others: int | None
    same: bool

    def lines(self) -> list[str]:
        m, more = self.memory, SESSIONS - 1
        found = [f"a session: weights {show(m.weights)}, caches {show(m.caches)}, plans {show(m.plans)}"]
        if self.first is not None and self.others is not None:
            beside = show(self.first - m.weights - m.own)
            found.append(f"the driver: {show(self.first)} for the first, {beside} of it beside those")
            beside = show(self.others // more - m.own)
            found.append(f"the driver: {show(self.others)} for {more} more, {beside} each beside caches and plans")
        tokens = "the same" if self.same else "DIFFER"
        return [*found, f"{SESSIONS} sessions at once: {self.rate:,.1f} tok/s together, tokens {tokens}"]

    def problems(self) -> list[str]:
        found = [] if self.same else ["sessions disagree"]
        if self.others is not None and self.others / (SESSIONS - 1) >= self.memory.own + self.memory.weights:
            found.append("sessions take as much as if each had weights of its own")
        return found


def eight(pte: Path, gguf: Path, device: str) -> Eight:
    from executorch_ggml.runtime.gguf_file import GGUFFile
    from executorch_ggml.runtime.program import Program

    before = used_memory(device)
    file = GGUFFile(gguf)
    programs = [Program(pte, file, device=device, threads=1, methods=["forward"])]
    decode_rate(programs[0], 8)
    first = used_memory(device)
    programs += [Program(pte, file, device=device, threads=1, methods=["forward"]) for _ in range(SESSIONS - 1)]
    for program in programs[1:]:
        decode_rate(program, 8)
    last = used_memory(device)
    tokens: list[list[int]] = [[] for _ in programs]

    def work(i: int) -> None:
        tokens[i] = decode_rate(programs[i], TOKENS)[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(SESSIONS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = SESSIONS * TOKENS / (time.perf_counter() - began)
    same = all(t == tokens[0] for t in tokens)
    return Eight(rate, Memory.of(programs[0]), difference(first, before), difference(last, first), same)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bench", type=Path, required=True, help="our benchmark_llm")
    parser.add_argument("--model", default="qwen3-0.6b", choices=list(MODELS))
    parser.add_argument("--type", default="q8_0")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    from executorch_ggml.runtime.program import Program

    model = MODELS[options.model]
    pte, gguf = model.pte(options.directory), model.gguf(options.directory, options.type)
    problems = []

    bench = Ours("C++", program=options.bench, pte=pte, gguf=gguf, device=options.device)
    cpp, python = [], []
    with Program(pte, gguf, device=options.device, threads=1) as program:
        decode_rate(program, 8)
        for _ in range(options.repeat):
            cpp += bench.run(Workload("tg", TOKENS), 1)
            python.append(decode_rate(program, TOKENS)[0])
    share = statistics.median(python) / statistics.median(cpp)
    print(f"`generate()` {statistics.median(python):,.1f} tok/s, C++ {statistics.median(cpp):,.1f}: {share:.3f}")
    if share < 1 - PYTHON_BEHIND:
        problems.append("Python is more than 3% behind")

    together = eight(pte, gguf, options.device)
    print("\n".join(together.lines()))
    problems += together.problems()
    for problem in problems:
        print(f"FAILED {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
