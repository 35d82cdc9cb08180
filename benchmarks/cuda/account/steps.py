"""A trace of trace.cpp as decode steps: the launches of the CUDA graph that was launched most often."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


class TraceError(ValueError):
    """The trace has no steps."""


@dataclass(frozen=True)
class Record:
    """A kernel or copy; times in nanoseconds. ``node``: of a CUDA graph, 0 outside."""

    kind: str
    start: int
    end: int
    correlation: int
    node: int
    stream: int
    grid: str
    block: str
    size: int
    name: str


@dataclass
class Place:
    """The same kernel of every step. ``duration``: it alone; ``advance``: from the end of what ended before it to its
    own end, so that those of a step add up to the step even where kernels overlap. Microseconds, medians."""

    name: str
    duration: float
    advance: float
    order: int
    """in the graph, where streams do not mix"""


@dataclass
class Step:
    """``span``: from the first kernel's start to the last one's end; ``interval``: between two steps. Microseconds."""

    count: int
    places: list[Place]
    span: float
    interval: float
    outside: dict[str, float] = field(default_factory=dict)
    """copies and kernels beside the graph: how many a step"""


def read(path: Path) -> list[Record]:
    records = []
    for line in path.read_text().splitlines():
        kind, start, end, correlation, node, stream, grid, block, size, name = line.split("\t", 9)
        numbers = (int(start), int(end), int(correlation), int(node), int(stream))
        records.append(Record(kind, *numbers, grid, block, int(size), name))
    return sorted(records, key=lambda r: r.start)


def decode_steps(records: Iterable[Record]) -> Step:
    """Raises TraceError when no CUDA graph was launched twice."""
    all_records = list(records)
    launches: dict[int, list[Record]] = defaultdict(list)
    for record in all_records:
        if record.node:
            launches[record.correlation].append(record)
    shapes = Counter(_shape(nodes) for nodes in launches.values())
    # A step has many kernels; should a program launch small graphs more often, they are not it.
    frequent = [(shape, count) for shape, count in shapes.items() if count > 1]
    if not frequent:
        raise TraceError("no CUDA graph was launched twice")
    shape = max(frequent, key=lambda item: item[1] * len(item[0]))[0]
    steps = [sorted(nodes, key=lambda r: r.node) for nodes in launches.values() if _shape(nodes) == shape]
    steps.sort(key=lambda nodes: min(r.start for r in nodes))
    begins = [min(r.start for r in nodes) for nodes in steps]
    ends = [max(r.end for r in nodes) for nodes in steps]
    return Step(
        count=len(steps),
        places=_places(steps),
        span=statistics.median(e - b for b, e in zip(begins, ends, strict=True)) / 1e3,
        interval=statistics.median(b - a for a, b in itertools.pairwise(begins)) / 1e3,
        outside=_outside(all_records, begins, {id(r) for nodes in steps for r in nodes}),
    )


def _shape(nodes: list[Record]) -> tuple[str, ...]:
    return tuple(r.name for r in sorted(nodes, key=lambda r: r.node))


def _places(steps: list[list[Record]]) -> list[Place]:
    durations: list[list[float]] = [[] for _ in steps[0]]
    advances: list[list[float]] = [[] for _ in steps[0]]
    for nodes in steps:
        front = min(r.start for r in nodes)
        for order in sorted(range(len(nodes)), key=lambda i: nodes[i].end):
            record = nodes[order]
            durations[order].append((record.end - record.start) / 1e3)
            advances[order].append(max(0, record.end - front) / 1e3)
            front = max(front, record.end)
    return [
        Place(record.name, statistics.median(durations[i]), statistics.mean(advances[i]), i)
        for i, record in enumerate(steps[0])
    ]


def _outside(records: list[Record], begins: list[int], inside: set[int]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for record in records:
        if id(record) not in inside and begins[0] <= record.start < begins[-1]:
            label = f"{record.name}, {record.size:,} bytes" if record.kind == "copy" else record.name
            found[label] += 1
    return {name: count / (len(begins) - 1) for name, count in found.items()}
