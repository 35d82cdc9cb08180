"""Who is measured: `benchmark_llm` and llama.cpp's `llama-bench`, each as a process that repeats a test a few times."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Reads the strongest llama.cpp: streams for q, k and v.
STRONG = {"GGML_CUDA_GRAPH_OPT": "1"}
# What makers of models recommend, more or less.
SAMPLING = json.dumps({"temperature": 0.7, "top_k": 40, "top_p": 0.95, "seed": 1})
# What a developer's shell may have set must not decide anything.
_FOREIGN = ("GGML_CUDA_GRAPH_OPT", "GGML_CUDA_DISABLE_GRAPHS", "GGML_CUDA_DISABLE_FUSION", "NVIDIA_TF32_OVERRIDE")


@dataclass(frozen=True)
class Workload:
    """`tg128`: decode 128 tokens; `pp512`: a prompt of 512; `@4096`: behind that many tokens in the cache."""

    kind: str
    count: int
    depth: int = 0

    @classmethod
    def parse(cls, text: str) -> Workload:
        match = re.fullmatch(r"(tg|pp)(\d+)(?:@(\d+))?", text)
        if not match:
            raise ValueError(f"{text!r}: a test is written tg128, pp512 or tg128@4096")
        return cls(match[1], int(match[2]), int(match[3] or 0))

    def __str__(self) -> str:
        return f"{self.kind}{self.count}" + (f"@{self.depth}" if self.depth else "")


class ContestantError(RuntimeError):
    """A process failed, or measured something else than it was asked."""


@dataclass
class Contestant:
    """A program with its settings. ``rates``: tokens per second of every repetition, by test."""

    name: str
    rates: dict[Workload, list[float]] = field(default_factory=dict)

    def measure(self, test: Workload, repeat: int) -> None:
        self.rates.setdefault(test, []).extend(self.run(test, repeat))

    def takes(self, test: Workload) -> bool:
        return True

    def run(self, test: Workload, repeat: int) -> list[float]:
        raise NotImplementedError


@dataclass(frozen=True)
class Graph:
    """Nodes of a step's graph, kernels of ours among them, pieces it was split into; timed runs of it on a GPU, and how
    many of those replayed a CUDA graph."""

    nodes: int = 0
    calls: int = 0
    splits: int = 0
    device_runs: int = 0
    replayed: int = 0

    def __add__(self, other: Graph) -> Graph:
        runs, replayed = self.device_runs + other.device_runs, self.replayed + other.replayed
        return Graph(other.nodes, other.calls, other.splits, runs, replayed)

    def __str__(self) -> str:
        text = f"{self.nodes} nodes, {self.calls} of them kernels of ours, in {self.splits} split"
        text += "" if self.splits == 1 else "s"
        if self.device_runs:
            text += f"; {self.replayed / self.device_runs:.2%} of {self.device_runs:,} calls replayed a CUDA graph"
        return text


@dataclass
class Ours(Contestant):
    """``logits``: "argmax" (four bytes leave the library for a token), "sampled" (likewise, but drawn) or "full" (all
    logits are copied to the host, as llama-bench does). ``graphs``: what the program says of the graphs that it timed,
    by test."""

    program: Path = Path()
    pte: Path = Path()
    gguf: Path = Path()
    device: str = "cuda"
    logits: str = "argmax"
    threads: int = 1
    environment: dict[str, str] = field(default_factory=dict)
    graphs: dict[Workload, Graph] = field(default_factory=dict)

    def takes(self, test: Workload) -> bool:
        return self.logits == "argmax" or test.kind == "tg"  # a prompt's logits leave once either way

    def run(self, test: Workload, repeat: int) -> list[float]:
        prompt, decode = (test.count, 0) if test.kind == "pp" else (1, test.count)
        command = [self.program, self.pte, "--gguf", self.gguf, "--device", self.device, "--threads", self.threads]
        command += ["--prompt-len", prompt, "--n-decode", decode, "--depth", test.depth]
        command += ["--repeat", repeat, "--warmup", 1, "--json"]
        if self.logits == "sampled":
            command += ["--sampling", SAMPLING]
        else:
            command += ["--logits", self.logits]
        row = json.loads(output(command, self.environment))
        if (row["prompt_len"], row["n_decode"], row["depth"]) != (prompt, decode, test.depth):
            raise ContestantError(f"benchmark_llm measured something else: {row}")
        self.graphs[test] = self.graphs.get(test, Graph()) + Graph(**row["graph"])
        return samples(row["prompt_tok_s" if test.kind == "pp" else "decode_tok_s"])


def samples(rate: dict[str, Any]) -> list[float]:
    """Every repetition, where the program says it; else least, median and most stand for all of them."""
    if "all" in rate:
        return [float(x) for x in rate["all"]]
    return [float(rate[key]) for key in ("min", "median", "max")]


@dataclass
class Llama(Contestant):
    """llama-bench, all layers on the device, flash attention, CUDA graphs as compiled in."""

    program: Path = Path()
    gguf: Path = Path()
    layers: int = 99
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1

    def run(self, test: Workload, repeat: int) -> list[float]:
        prompt, decode = (test.count, 0) if test.kind == "pp" else (0, test.count)
        command = [self.program, "-m", self.gguf, "-t", self.threads, "-ngl", self.layers, "-fa", 1]
        command += ["-p", prompt, "-n", decode, "-d", test.depth, "-r", repeat, "-o", "json"]
        (row,) = json.loads(output(command, self.environment))
        if (row["n_prompt"], row["n_gen"], row["n_depth"]) != (prompt, decode, test.depth):
            raise ContestantError(f"llama-bench measured something else: {row}")
        rates = [float(x) for x in row["samples_ts"]]
        if len(rates) != repeat or not all(x > 0 for x in rates):
            raise ContestantError(f"llama-bench gave {rates}")
        return rates


def output(command: Sequence[Any], environment: dict[str, str]) -> str:
    """stdout of a process that must succeed."""
    inherited = {k: v for k, v in os.environ.items() if k not in _FOREIGN}
    done = subprocess.run(
        [str(c) for c in command], env={**inherited, **environment}, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        text = f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-1500:]}"
        raise ContestantError(text)
    return done.stdout
