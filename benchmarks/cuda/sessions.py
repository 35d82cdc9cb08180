#!/usr/bin/env python3
"""Python's `generate()` beside the C++ benchmark, GPU memory, and eight sessions on one copy of the weights.

    python3 benchmarks/cuda/sessions.py DIR --bench BENCHMARK_LLM [--model qwen3-0.6b] [--type q8_0] [--device cuda]

Memory is what the driver says is used beyond what was used before (`nvidia-smi`; on another device that part is left
out). Exits 1 when Python is more than 3% behind C++ or when sessions
disagree.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.contestants import Ours, Test  # noqa: E402
from benchmarks.cuda.models import MODELS  # noqa: E402

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


def show(size: int | None) -> str:
    return "-" if size is None else f"{size / (1 << 20):,.0f} MiB"


def decode_rate(program: Any, count: int) -> tuple[float, list[int]]:
    """Tokens per second behind the first one, and the tokens."""
    from executorch_ggml.text import generate

    program.reset()
    running = generate(program, [1], max_tokens=count + 1, ignore_end=True)
    times, seen = [], 0
    for _ in running:
        if len(running.tokens) != seen:
            times.append(time.perf_counter())
            seen = len(running.tokens)
    return (len(times) - 1) / (times[-1] - times[0]), running.tokens


def eight(pte: Path, gguf: Path, device: str) -> tuple[float, int | None, int | None, bool]:
    """Rate of all together, memory of the first and of the others, whether they chose the same tokens."""
    from executorch_ggml.gguf import GGUFFile
    from executorch_ggml.program import Program

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
    return rate, difference(first, before), difference(last, first), all(t == tokens[0] for t in tokens)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bench", type=Path, required=True, help="our benchmark_llm")
    parser.add_argument("--model", default="qwen3-0.6b", choices=list(MODELS))
    parser.add_argument("--type", default="q8_0")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    from executorch_ggml.program import Program

    model = MODELS[options.model]
    pte, gguf = model.pte(options.directory), model.gguf(options.directory, options.type)
    problems = []

    bench = Ours("C++", program=options.bench, pte=pte, gguf=gguf, device=options.device)
    cpp, python = [], []
    with Program(pte, gguf, device=options.device, threads=1) as program:
        decode_rate(program, 8)
        for _ in range(options.repeat):
            cpp += bench.run(Test("tg", TOKENS), 1)
            python.append(decode_rate(program, TOKENS)[0])
    share = statistics.median(python) / statistics.median(cpp)
    print(f"`generate()` {statistics.median(python):,.1f} tok/s, C++ {statistics.median(cpp):,.1f}: {share:.3f}")
    if share < 1 - PYTHON_BEHIND:
        problems.append("Python is more than 3% behind")

    rate, first, others, same = eight(pte, gguf, options.device)
    weights = gguf.stat().st_size
    print(f"weights {show(weights)}; the first session takes {show(first)}, {SESSIONS - 1} more {show(others)}")
    print(f"{SESSIONS} sessions at once: {rate:,.1f} tok/s together, tokens {'the same' if same else 'DIFFER'}")
    if not same:
        problems.append("sessions disagree")
    for problem in problems:
        print(f"FAILED {problem}")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
