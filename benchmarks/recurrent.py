#!/usr/bin/env python3
"""Recurrent layers and the functions they are made of on the CPU against eager torch, interleaved.

    python benchmarks/recurrent.py [--threads 1 2] [--rounds 9] [--only WORD ...]

Every result is compared with eager before its time counts. A round calls eager and then ours, each for about 0.1 s; the
table gives medians over the rounds in milliseconds, and eager over ours as the median of the rounds' ratios with its
spread. On one thread times are processor times, which other work on the machine disturbs least. `lowered in` is the
processor time from the exported program to the .pte. Each number of threads has a process of its own, confined to as
many processors.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.zoo_time import limit

ROUNDS_TIME = 0.1
LIMIT = 1e-5


class Layer(nn.Module):
    """The outputs of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x)[0]
        return result


class Function(nn.Module):
    """A function eight times over, so that the call itself does not count."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(8):
            x = self.function(x)
        return x


def _layer(kind: Any, batch: int, steps: int, inputs: int, hidden: int, layers: int, **how: Any) -> Any:
    torch.manual_seed(0)
    return Layer(kind(inputs, hidden, layers, batch_first=True, **how)).eval(), (torch.randn(batch, steps, inputs),)


CASES: dict[str, Callable[[], tuple[nn.Module, tuple[torch.Tensor, ...]]]] = {
    "LSTM, 3 layers of 256, 160 steps, batch 3": lambda: _layer(nn.LSTM, 3, 160, 40, 256, 3),
    "LSTM, 3 layers of 256, 160 steps, batch 1": lambda: _layer(nn.LSTM, 1, 160, 40, 256, 3),
    "LSTM of 128, 480 steps, batch 1": lambda: _layer(nn.LSTM, 1, 480, 64, 128, 1),
    "LSTM both ways, 2 layers of 256, 80 steps, batch 4": lambda: _layer(
        nn.LSTM, 4, 80, 128, 256, 2, bidirectional=True
    ),
    "GRU, 3 layers of 256, 160 steps, batch 3": lambda: _layer(nn.GRU, 3, 160, 40, 256, 3),
    "GRU both ways, 256, 100 steps, batch 1": lambda: _layer(nn.GRU, 1, 100, 384, 256, 1, bidirectional=True),
    "RNN (tanh), 3 layers of 256, 160 steps, batch 3": lambda: _layer(nn.RNN, 3, 160, 40, 256, 3),
    "tanh of 65,536, 8 times": lambda: (Function(torch.tanh), (torch.randn(64, 1024),)),
    "sigmoid of 65,536, 8 times": lambda: (Function(torch.sigmoid), (torch.randn(64, 1024),)),
}


def lower(module: nn.Module, args: tuple[torch.Tensor, ...], path: Path) -> tuple[float, int]:
    """Processor seconds from the exported program to the file, and delegates in it."""
    from executorch_ggml import to_edge_rewrite_and_lower

    exported = torch.export.export(module, args)
    start = time.process_time()
    edge = to_edge_rewrite_and_lower(exported)
    buffer = edge.to_executorch().buffer
    took = time.process_time() - start
    path.write_bytes(buffer)
    names = [str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"]
    return took, sum("call_delegate" in n for n in names)


def _for_a_while(run: Callable[[], Any], threads: int) -> float:
    """Milliseconds of one call, the mean over about ROUNDS_TIME seconds."""
    clock = time.process_time if threads == 1 else time.perf_counter
    start, calls = clock(), 0
    while clock() - start < ROUNDS_TIME:
        run()
        calls += 1
    return (clock() - start) / calls * 1e3


def measure(name: str, threads: int, rounds: int) -> str:
    """One row of the table."""
    from executorch_ggml import Program

    module, args = CASES[name]()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "model.pte"
        took, delegates = lower(module, args, path)
        with Program(path, threads=threads) as program:
            error = (program(*args)[0] - module(*args)).abs().max().item()
            if not error <= LIMIT:
                raise SystemExit(f"{name}: off by {error}")
            pairs = []
            for _ in range(rounds):
                pairs.append(
                    (_for_a_while(lambda: module(*args), threads), _for_a_while(lambda: program(*args), threads))
                )
    ratios = sorted(e / o for e, o in pairs)
    eager, ours = (statistics.median(p[i] for p in pairs) for i in range(2))
    return (
        f"| {name} | {eager:.2f} | {ours:.2f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
        f"| {error:.0e} | {delegates} | {took:.1f} s |"
    )


def main() -> None:
    """Prints one table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", nargs="+", default=[""], help="names that contain one of these words")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.child:
        for threads in options.threads:
            given = ["--threads", str(threads), "--rounds", str(options.rounds), "--only", *options.only]
            subprocess.run([sys.executable, __file__, "--child", *given], check=True)
        return
    warnings.filterwarnings("ignore")
    [threads] = options.threads
    limit(threads)
    torch.set_num_threads(threads)
    print(f"\n{threads} thread{'s' if threads > 1 else ''}\n")
    print("| | eager, ms | ggml, ms | eager / ggml | largest error | delegates | lowered in |")
    print("|---|---|---|---|---|---|---|")
    for name in CASES:
        if any(word in name for word in options.only):
            print(measure(name, threads, options.rounds), flush=True)


if __name__ == "__main__":
    main()
