"""The cases of the operator registry (`tests/ops/test_registry.py`), one program for each of its groups."""

from __future__ import annotations

from collections.abc import Iterator

import test_registry as registry
import torch

from benchmarks.cuda.case_file import Bound, Case
from benchmarks.cuda.torch_case import call
from executorch_ggml.analysis.reference import flatten_results
from executorch_ggml.aot.registry import Case as Registered

FLOOR = 1e-7
"""NMSE that a case need not be better than: the test's own for the native library."""


def cases() -> Iterator[Case]:
    for parameter in registry.groups():
        group = parameter.values[0]
        if not group[0].refused:
            yield exported(str(parameter.id), group)


def exported(name: str, group: list[Registered]) -> Case:
    lowered = registry.Lowered(group)
    initial = {k: v.clone() for k, v in lowered.module.state_dict().items()}
    lowered.module.load_state_dict(initial)
    bounds = []
    runs = []
    for sizes in registry.bindings(group[0]) if len(group) == 1 else [[{}] * 8]:
        args = [registry.make(a, 11 + i, sizes[i]) for c in group for i, a in enumerate(c.args)]
        given = [a.clone() for a in args]  # operators that write to their arguments
        with torch.no_grad():
            want = lowered.module(*args)
        parts = [flatten_results(part) for part in want]
        bounds = [
            Bound("nmse" if t.dtype.is_floating_point else "equal", max(c.tolerance, FLOOR))
            for c, part in zip(group, parts, strict=True)
            for t in part
        ]
        runs.append(call(given, [t for part in parts for t in part], bounds))
    labels = [c.name or "plain" for c, part in zip(group, parts, strict=True) for _ in part]
    return Case(name, lowered.buffer, runs, cache_type="f32", labels=labels)
