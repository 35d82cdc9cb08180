#!/usr/bin/env python3
"""One decode step, kernel by kernel, ours beside llama.cpp's: count, bytes, microseconds, share of the bandwidth.

    benchmarks/cuda/account/build.sh DIR
    python3 benchmarks/cuda/account/account.py DIR --bench BENCHMARK_LLM --peer LLAMA_BENCH --trace libkernel_trace.so

Both programs decode under the same tracer (trace.cpp) and are not changed. Tracing costs time: a step's interval here
is longer than decode.py's. "us": until a kernel ended, counted from the end of what ended before it; this is what adds
up to the step. "alone": from its own start. "share": its bytes over its time, of --bandwidth.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from benchmarks.cuda.account.steps import Step, TraceError, decode_steps, read
from benchmarks.cuda.account.traffic import Traffic
from benchmarks.cuda.contestants import ContestantError, Workload
from benchmarks.cuda.decode import contestants
from benchmarks.cuda.models import MODELS

TOKENS = 64
MEASURED_BANDWIDTH = 4.4e12


@dataclass
class Row:
    """Kernels of one name that do the same."""

    count: int = 0
    size: int = 0
    us: float = 0.0
    alone: float = 0.0

    def add(self, size: int, us: float, alone: float) -> None:
        self.count, self.size, self.us, self.alone = self.count + 1, self.size + size, self.us + us, self.alone + alone


def short(name: str) -> str:
    """Of a demangled name: the function and its template arguments, without namespaces and parameters."""
    name = re.sub(r"\(anonymous namespace\)::|^void ", "", name)
    depth, end = 0, len(name)
    for i, char in enumerate(name):
        depth += {"<": 1, ">": -1}.get(char, 0)
        if char == "(" and depth == 0:
            end = i
            break
    head, _, arguments = name[:end].partition("<")
    arguments = re.sub(r"\((?:\w|::)+\)|\w+::", "", arguments)
    text = head.rpartition("::")[2] + (f"<{arguments}" if arguments else "")
    return text if len(text) <= 60 else text[:57] + "..."


def rows_of(step: Step, traffic: Traffic) -> dict[tuple[str, str], Row]:
    rows: dict[tuple[str, str], Row] = defaultdict(Row)
    roles = traffic.attribute([p.name for p in step.places])
    for place, (role, size) in zip(step.places, roles, strict=True):
        rows[role, short(place.name)].add(size, place.advance, place.duration)
    return rows


def share(row: Row, bandwidth: float) -> str:
    return f"{row.size / (row.us * 1e-6) / bandwidth:.0%}" if row.size and row.us else "-"


def kernel_table(step: Step, traffic: Traffic, bandwidth: float) -> str:
    lines = ["| does | kernel | count | MB | us | us each | alone, each | share |", "|---|---|---|---|---|---|---|---|"]
    rows = rows_of(step, traffic)
    for (role, name), row in sorted(rows.items(), key=lambda item: -item[1].us):
        lines.append(
            f"| {role} | `{name}` | {row.count} | {row.size / 1e6:.1f} | {row.us:.1f} | {row.us / row.count:.2f} | "
            f"{row.alone / row.count:.2f} | {share(row, bandwidth)} |"
        )
    total = Row(len(step.places), sum(r.size for r in rows.values()), sum(r.us for r in rows.values()))
    lines.append(f"| all | | {total.count} | {total.size / 1e6:.1f} | {total.us:.1f} | | | {share(total, bandwidth)} |")
    beside = "; ".join(f"{count:.2f} x {name}" for name, count in step.outside.items()) or "nothing"
    lines.append("")
    lines.append(
        f"{step.count} steps; kernels take {step.span:.1f} us from the first start to the last end, a step "
        f"{step.interval:.1f} us with the tracer. Beside the graph, for each step: {beside}."
    )
    return "\n".join(lines)


def side_by_side(steps: dict[str, Step], traffic: dict[str, Traffic]) -> str:
    """What each program spends on what."""
    sums: dict[str, dict[str, Row]] = {}
    for name, step in steps.items():
        sums[name] = defaultdict(Row)
        for (role, _), row in rows_of(step, traffic[name]).items():
            merged = sums[name][merged_role(role)]
            merged.count, merged.us = merged.count + row.count, merged.us + row.us
    roles = sorted({r for rows in sums.values() for r in rows}, key=lambda r: -max(s[r].us for s in sums.values()))
    lines = ["| | " + " | ".join(f"{name}, count | us" for name in sums) + " |", "|---" * (1 + 2 * len(sums)) + "|"]
    for role in roles:
        cells = [f"{rows[role].count} | {rows[role].us:.1f}" if rows[role].count else "- | -" for rows in sums.values()]
        lines.append(f"| {role} | " + " | ".join(cells) + " |")
    totals = [f"{len(s.places)} | {sum(p.advance for p in s.places):.1f}" for s in steps.values()]
    lines.append("| all | " + " | ".join(totals) + " |")
    return "\n".join(lines)


def merged_role(role: str) -> str:
    return "q, k, v" if role in ("q", "k", "v") else "gate, up" if role in ("gate", "up") else role


def traced(side: Any, test: Workload, library: Path) -> Step:
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.tsv"
        before = dict(os.environ)
        os.environ.update(CUDA_INJECTION64_PATH=str(library.resolve()), KERNEL_TRACE=str(trace))
        try:
            side.measure(test, 1)
        finally:
            os.environ.clear()
            os.environ.update(before)
        if not trace.exists():
            raise TraceError("the tracer was not loaded: is CUPTI there, and does the program use the GPU?")
        return decode_steps(read(trace))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--bench", type=Path, required=True, help="our benchmark_llm")
    parser.add_argument("--peer", type=Path, required=True, help="llama-bench")
    parser.add_argument("--trace", type=Path, required=True, help="libkernel_trace.so of build.sh")
    parser.add_argument("--model", default="qwen3-0.6b", choices=list(MODELS))
    parser.add_argument("--types", nargs="+", default=["q8_0"])
    parser.add_argument("--depth", type=int, default=128)
    parser.add_argument("--bandwidth", type=float, default=MEASURED_BANDWIDTH, help="bytes a second")
    parser.add_argument("--contestants", nargs="+", default=["ours, argmax", "llama.cpp", "llama.cpp, GRAPH_OPT"])
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    options.threads, options.sampled = 1, True
    test = Workload("tg", TOKENS, options.depth)
    failed = 0
    for kind in options.types:
        print(f"### {options.model} {kind}, {options.depth} tokens in the cache\n")
        steps, traffic = {}, {}
        for side in contestants(MODELS[options.model], kind, options):
            if side.name not in options.contestants:
                continue
            try:
                steps[side.name] = traced(side, test, options.trace)
            except (ContestantError, TraceError, OSError, subprocess.SubprocessError) as error:
                failed = 1
                print(f"FAILED {side.name}: {error}")
                continue
            traffic[side.name] = Traffic.of(side.gguf, options.depth + TOKENS // 2)  # type: ignore[attr-defined]
        if steps:
            print(side_by_side(steps, traffic))
        for name, step in steps.items():
            print(f"\n#### {name}\n\n{kernel_table(step, traffic[name], options.bandwidth)}", flush=True)
        print()
    return failed


if __name__ == "__main__":
    sys.exit(main())
