"""Times of one model: ours, eager torch and XNNPACK, taken in turns in one process."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo_measure import export, lower
from benchmarks.zoo_models import Inputs, ZooModel
from executorch_ggml import Program

HEADER = ["1 thread: ggml / eager / XNNPACK ms", "2 threads"]
SECONDS = 0.3
"""A round of one contender repeats its call for about this long."""


def xnnpack(program: torch.export.ExportedProgram, path: Path) -> Any:
    """The same program through XNNPACK's partitioner, as a loaded method of ExecuTorch's runtime."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(edge.to_executorch().buffer)
    return Runtime.get().load_program(path).load_method("forward")


def once(call: Callable[[], Any]) -> float:
    """Milliseconds of a call: the median over SECONDS, at least three calls."""
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(taken) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.median(taken)


def contest(model: ZooModel, tiny: bool, threads: int, rounds: int) -> str:
    """``ours / eager / XNNPACK``: medians over the rounds, in milliseconds, at the first size."""
    module = model.build(tiny)
    x: Inputs = model.example(tiny)
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ggml.pte"
        path.write_bytes(lower(export(model, module, tiny, second=False)).buffer)
        peer: Any = None
        try:
            peer = xnnpack(export(model, module, tiny, second=False), Path(folder) / "xnnpack.pte")
        except Exception as error:  # what it cannot lower is a result, too
            failure = type(error).__name__
        with Program(path, threads=threads) as program, torch.no_grad():
            calls: list[Callable[[], Any]] = [lambda: program(*x), lambda: module(*x)]
            if peer is not None:
                calls.append(lambda: peer.execute(list(x)))
            for call in calls:
                call()
            times = [[once(call) for call in calls] for _ in range(rounds)]
    medians = [f"{statistics.median(column):.2f}" for column in zip(*times, strict=True)]
    return " / ".join(medians if peer is not None else [*medians, failure])


def times(model: ZooModel, tiny: bool, rounds: int) -> list[str]:
    """The cells for 1 and 2 threads, each measured in a process of its own.

    XNNPACK's thread pool keeps the size that it starts with.
    """
    import subprocess
    import sys

    cells = []
    for threads in (1, 2):
        code = (
            "import sys; from benchmarks.zoo_models import all_models; from benchmarks.zoo_time import contest, limit\n"
            f"limit({threads}); print('RESULT', contest(all_models()[{model.name!r}], {tiny}, {threads}, {rounds}))"
        )
        root = str(Path(__file__).resolve().parents[1])
        done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
        found = [line.removeprefix("RESULT ") for line in done.stdout.splitlines() if line.startswith("RESULT ")]
        if done.returncode or not found:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr[-500:]}")
        cells.append(found[0])
    return cells


def limit(threads: int) -> None:
    """Restricts the process to as many processors as threads: XNNPACK's pool takes one thread for each."""
    import os

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
