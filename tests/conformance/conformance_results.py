"""What a run of the suite recorded: one Result per test and flow, read back from lines of JSON."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

WHOLE, PART, UNDELEGATED, SKIPPED, NO_KERNEL, FAILED = (
    "whole",
    "part",
    "undelegated",
    "skipped",
    "no kernel",
    "failed",
)
OUTCOMES = (WHOLE, PART, UNDELEGATED, SKIPPED, NO_KERNEL, FAILED)


@dataclass(frozen=True)
class Result:
    """One test under one flow.

    Attributes:
        id: ``file.py::test[flow]``.
        file, name, flow: its parts.
        outcome: "whole" (every operator of every program of the test was delegated, and the results were right),
            "part" (right, with at least one delegated operator in each program), "undelegated" (some program was left
            to ExecuTorch altogether), "skipped" (the suite's own doing), "no kernel" (what was not delegated has no
            kernel in ExecuTorch either, so the suite cannot run it) or "failed".
        detail: why it was skipped, or how it failed.
        left: operators that stayed with ExecuTorch, by name.
        reasons: why, as our partitioner tells it.
        seconds: duration.
    """

    id: str
    file: str
    name: str
    flow: str
    outcome: str
    detail: str = ""
    left: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """``file::test`` without suffix, flow and parameters: what a reason is filed under."""
        return f"{self.file}::{self.name}"


def append(path: Path, entry: Result | str) -> None:
    """Adds a result, or the id of a test that begins now."""
    data = {"started": entry} if isinstance(entry, str) else dataclasses.asdict(entry)
    with path.open("a") as file:
        file.write(json.dumps(data) + "\n")


def load(path: Path) -> list[Result]:
    """All results; a test that began and has none took its process down, which is a failure."""
    results: dict[str, Result] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        data = json.loads(line)
        if "started" in data:
            name = data["started"]
            file, _, test = name.partition(".py::")
            base, _, rest = test.partition("[")
            results[name] = Result(name, file, base, rest.rstrip("]").split("-")[0], FAILED, "the process died")
        else:
            results[data["id"]] = Result(**data)
    return list(results.values())


def count(results: Iterable[Result]) -> Counter[str]:
    """Number of results by outcome."""
    return Counter(r.outcome for r in results)
