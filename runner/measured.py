"""Reports an export: sizes, time, peak memory, and the operators of each method."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from executorch_ggml.speech.export import CheckpointExport


@contextmanager
def measured() -> Iterator[Callable[[CheckpointExport], None]]:
    """Yields a function that prints an export and the effort since the beginning."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("executorch_ggml").setLevel(logging.INFO)
    start = time.perf_counter(), time.process_time()

    def report(done: CheckpointExport) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
        effort = f"{wall:.0f} s ({cpu:.0f} s of CPU time), peak memory {peak:.1f} GB"
        print(f"{done.result.path}: {done.result.bytes / 1e6:.2f} MB in {effort}")
        if done.gguf:
            print(f"{done.gguf}: {done.gguf_bytes / 1e9:.2f} GB")
        for name, count in done.result.nodes.items():
            outside = ", ".join(done.result.outside[name]) or "nothing"
            print(f"  {name}: one delegate of {count} operators; outside: {outside}")

    yield report
