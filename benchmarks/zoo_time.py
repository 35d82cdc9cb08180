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
from benchmarks.zoo_models import Inputs, ZooModel, all_models
from executorch_ggml import Program

HEADER = ["1 thread: ggml / eager / XNNPACK ms", "2 threads"]
SECONDS = 0.3
"""A round of one contender repeats its call for about this long."""


def lower_xnnpack(program: torch.export.ExportedProgram, path: Path) -> None:
    """Writes the program as XNNPACK's partitioner cuts it."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(edge.to_executorch().buffer)


def load_xnnpack(path: Path) -> Any:
    """A loaded method of ExecuTorch's runtime."""
    from executorch.runtime import Runtime

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


def contest(name: str, tiny: bool, threads: int, rounds: int, folder: Path) -> str:
    """``ours / eager / XNNPACK``: medians over the rounds, in milliseconds, at the first size.

    ``folder`` holds ggml.pte and either xnnpack.pte or, in xnnpack.txt, why there is none.
    """
    model = all_models()[name]
    module = model.build(tiny)
    x: Inputs = model.example(tiny)
    torch.set_num_threads(threads)
    failure = ""
    with Program(folder / "ggml.pte", threads=threads) as program, torch.no_grad():
        calls: list[Callable[[], Any]] = [lambda: program(*x), lambda: module(*x)]
        if (folder / "xnnpack.pte").exists():
            try:
                peer = load_xnnpack(folder / "xnnpack.pte")
                peer.execute(list(x))
                calls.append(lambda: peer.execute(list(x)))
            except Exception as error:  # what it cannot run is a result, too
                failure = f"{type(error).__name__} in running"
        else:
            failure = (folder / "xnnpack.txt").read_text()
        for call in calls:
            call()
        times = [[once(call) for call in calls] for _ in range(rounds)]
    medians = [f"{statistics.median(column):.2f}" for column in zip(*times, strict=True)]
    return " / ".join([*medians, failure] if failure else medians)


def times(model: ZooModel, tiny: bool, rounds: int) -> list[str]:
    """The cells for 1 and 2 threads, each measured in a process of its own.

    XNNPACK's thread pool keeps the size that it starts with. Both programs are lowered once, here.
    """
    import subprocess
    import sys

    cells = []
    root = str(Path(__file__).resolve().parents[1])
    with tempfile.TemporaryDirectory() as folder:
        module = model.build(tiny)
        (Path(folder) / "ggml.pte").write_bytes(lower(export(model, module, tiny, second=False)).buffer)
        try:
            lower_xnnpack(export(model, module, tiny, second=False), Path(folder) / "xnnpack.pte")
        except Exception as error:  # what it cannot lower is a result, too
            (Path(folder) / "xnnpack.txt").write_text(f"{type(error).__name__} in lowering")
        del module
        for threads in (1, 2):
            code = (
                "from pathlib import Path; from benchmarks.zoo_time import contest, limit\n"
                f"limit({threads}); "
                f"print('RESULT', contest({model.name!r}, {tiny}, {threads}, {rounds}, Path({folder!r})))"
            )
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
