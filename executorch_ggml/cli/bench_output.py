"""Rows of `bench` as a table for Markdown, as CSV or as JSON, with the columns of llama-bench."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from executorch_ggml.errors.tables import table

from .bench_measure import Measured


@dataclass(frozen=True)
class Subject:
    """The model of all rows. parameters: None where the weights are inside of the `.pte`."""

    name: str
    bytes: int
    parameters: int | None
    pte: str
    gguf: str | None


def subject_of(pte: Path, gguf: Path | None) -> Subject:
    if gguf is None:
        return Subject(pte.stem, pte.stat().st_size, None, str(pte), None)
    # Late: --help and other commands start without it.
    from executorch_ggml.gguf.summary import GGUFAnalyzer

    analyzer = GGUFAnalyzer(gguf)
    facts = analyzer.get_file_info()
    by_bytes = sorted(facts["types"].items(), key=lambda item: item[1]["bytes"] or 0)
    label = analyzer.header.get("general.size_label")
    parts = [facts["architecture"], label, by_bytes[-1][0] if by_bytes else None]
    name = " ".join(str(part) for part in parts if part) or gguf.stem
    return Subject(name, facts["file_bytes"], facts["parameters"], str(pte), str(gguf))


def markdown(subject: Subject, rows: list[Measured]) -> str:
    head = ["model", "size", "params", "backend", "threads", "cache", "test", rows[0].case.unit]
    lines = [[*_common(subject, row), f"{row.mean:.2f} ± {row.deviation:.2f}"] for row in rows]
    return table(lines, head, right=(1, 2, 4, 6, 7), markdown=True)


def _common(subject: Subject, row: Measured) -> list[str]:
    parameters = "-" if subject.parameters is None else _short(subject.parameters)
    power, unit = next((p, u) for p, u in ((30, "GiB"), (20, "MiB"), (10, "KiB")) if subject.bytes >> p or p == 10)
    size = f"{subject.bytes / 2**power:.2f} {unit}"
    return [subject.name, size, parameters, row.device, str(row.threads), row.cache_type, row.case.name]


def _short(count: int) -> str:
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.2f} M"


def as_dicts(subject: Subject, rows: list[Measured]) -> list[dict[str, Any]]:
    return [
        {
            "model": subject.name, "model_size": subject.bytes, "model_n_params": subject.parameters,
            "pte": subject.pte, "gguf": subject.gguf, "backend": row.device, "n_threads": row.threads,
            "cache_type": row.cache_type, "test": row.case.name, "n_prompt": row.case.n_prompt,
            "n_gen": row.case.n_gen, "n_depth": row.case.depth, "unit": row.case.unit, "avg": row.mean,
            "stddev": row.deviation, "samples": list(row.samples),
        }
        for row in rows
    ]  # fmt: skip


def as_csv(subject: Subject, rows: list[Measured]) -> str:
    out = io.StringIO()
    dicts = [{**row, "samples": json.dumps(row["samples"])} for row in as_dicts(subject, rows)]
    writer = csv.DictWriter(out, list(dicts[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(dicts)
    return out.getvalue().rstrip("\n")


def profile_table(operations: list[dict[str, Any]]) -> str:
    """Time of each kind of operation since the program was loaded, the longest first."""
    total = sum(item["ns"] for item in operations) or 1
    rows = [
        (item["op"], item["detail"], item["count"], f"{item['ns'] / 1e6:.3f}", f"{item['ns'] / total:.1%}")
        for item in sorted(operations, key=lambda item: -item["ns"])
    ]
    return table(rows, ("operation", "sizes", "count", "ms", "share"), right=(2, 3, 4))
