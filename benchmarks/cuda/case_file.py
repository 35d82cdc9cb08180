"""Cases for another machine: programs, arguments and what eager torch gives for them. numpy only.

One zip archive per family: `index.json`, and for each case a program (`N.pte`) and its arrays (`N.npz`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Bound:
    """What an output may differ by: "nmse" (squared error over squared norm), "absolute" (largest), or "equal"."""

    kind: str
    value: float = 0.0


@dataclass
class Run:
    """One call of a method. Inputs of bfloat16, which numpy lacks, are uint16 and named in ``halves``; such outputs
    float32."""

    inputs: list[Array]
    want: list[Array]
    bounds: list[Bound]
    halves: list[int] = field(default_factory=list)
    method: str = "forward"


@dataclass
class Case:
    """A program and its calls, in order. ``cache_type``: of KV caches. ``labels``: what each output is, if known."""

    name: str
    program: bytes
    runs: list[Run]
    cache_type: str | None = None
    labels: list[str] = field(default_factory=list)


class Writer:
    """Writes an archive; cases are compressed as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA)
        self._index: list[dict[str, Any]] = []
        self._programs: dict[bytes, int] = {}

    def add(self, case: Case) -> None:
        number = len(self._index)
        arrays: dict[str, Array] = {}
        runs = []
        for r, run in enumerate(case.runs):
            arrays |= {f"{r}.input.{i}": a for i, a in enumerate(run.inputs)}
            arrays |= {f"{r}.want.{i}": a for i, a in enumerate(run.want)}
            bounds = [asdict(b) for b in run.bounds]
            runs.append({"inputs": len(run.inputs), "bounds": bounds, "halves": run.halves, "method": run.method})
        # Cases of one program (methods of a model) share it.
        program = self._programs.setdefault(hashlib.sha256(case.program).digest(), number)
        if program == number:
            self._zip.writestr(f"{number}.pte", case.program)
        entry = {"name": case.name, "program": program, "cache_type": case.cache_type, "runs": runs}
        self._index.append(entry | {"labels": case.labels})
        memory = io.BytesIO()
        np.savez(memory, **arrays)  # type: ignore[arg-type]
        self._zip.writestr(f"{number}.npz", memory.getvalue())

    def __len__(self) -> int:
        return len(self._index)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._zip.writestr("index.json", json.dumps(self._index))
        self._zip.close()


def names(path: Path) -> list[str]:
    """The cases of an archive."""
    with zipfile.ZipFile(path) as archive:
        return [entry["name"] for entry in json.loads(archive.read("index.json"))]


def read(path: Path, first: int = 0) -> Iterator[Case]:
    """The cases from number ``first`` on."""
    with zipfile.ZipFile(path) as archive:
        for number, entry in enumerate(json.loads(archive.read("index.json"))):
            if number < first:
                continue
            arrays = np.load(io.BytesIO(archive.read(f"{number}.npz")))
            runs = []
            for r, run in enumerate(entry["runs"]):
                inputs = [arrays[f"{r}.input.{i}"] for i in range(run["inputs"])]
                want = [arrays[f"{r}.want.{i}"] for i in range(len(run["bounds"]))]
                bounds = [Bound(**b) for b in run["bounds"]]
                runs.append(Run(inputs, want, bounds, run["halves"], run.get("method", "forward")))
            program = archive.read(f"{entry.get('program', number)}.pte")
            yield Case(entry["name"], program, runs, entry["cache_type"], entry.get("labels", []))
