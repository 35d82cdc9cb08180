"""Random chains of operators (`tests/property`), a dozen to a program, drawn from a fixed seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import words_images  # noqa: F401
import words_movement  # noqa: F401
import words_pointwise  # noqa: F401
import words_sums  # noqa: F401
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import Chain
from run_chains import RELATIVE, Together, arguments, export
from vocabulary import draw_chain

from benchmarks.cuda.case_file import Bound, Case
from benchmarks.cuda.torch_case import call
from executorch_ggml import to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import flatten_results
from executorch_ggml.aot.partitioner import GgmlPartitioner

TOGETHER, LONGEST, PROGRAMS = 6, 4, 40


def cases() -> Iterator[Case]:
    for number, drawn in enumerate(draw()):
        if export(drawn) is None:  # torch's tracer wants a size of one of them to be constant
            drawn = [c for c in drawn if not c.dynamic or export([c]) is not None]
        if drawn:
            yield exported(f"chains {number} ({len(drawn)})", drawn)


def draw() -> list[list[Chain]]:
    found: list[list[Chain]] = []

    @st.composite
    def chains(draw: Any) -> list[Chain]:
        return [draw_chain(draw, LONGEST) for _ in range(TOGETHER)]

    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(chains())
    def collect(drawn: list[Chain]) -> None:
        found.append(drawn)

    collect()
    return found


def exported(name: str, chains: list[Chain]) -> Case:
    edge = to_edge_rewrite_and_lower(export(chains), partitioner=GgmlPartitioner())
    module, exact = Together(chains).eval(), Together(chains).eval().double()
    runs = []
    for run in range(max(len(c.sizes()) for c in chains)):
        args = arguments(chains, run)
        want = flatten_results(module(*args))
        precise = flatten_results(exact(*[a.double() if a.dtype is torch.float32 else a for a in args]))
        runs.append(call(args, want, [bound(w, p) for w, p in zip(want, precise, strict=True)]))
    return Case(name, edge.to_executorch().buffer, runs, labels=["; ".join(c.lines) for c in chains])


def bound(want: torch.Tensor, precise: torch.Tensor) -> Bound:
    """That of `run_chains.difference`."""
    if not want.dtype.is_floating_point:
        return Bound("equal")
    rounding = float((want.double() - precise.double()).abs().max()) if want.numel() else 0.0
    largest = float(want.abs().max()) if want.numel() else 0.0
    return Bound("absolute", RELATIVE * max(largest, 1e-3) + 20 * rounding)
