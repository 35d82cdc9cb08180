"""The result of a diff."""

from __future__ import annotations

import linecache
from dataclasses import asdict, dataclass
from typing import Any, Literal

from executorch_ggml.errors.tables import table

from .compare import Errors, Tolerance

Stage = Literal["rewrite", "input", "node", "output"]


@dataclass(frozen=True)
class Difference:
    """One value that exists on both sides.

    Attributes:
        stage: ``node``: a delegated operation. ``input``: a value from the host (ExecuTorch's kernels) for a delegate.
            ``output``: a result of the program. ``rewrite``: an operation of the model with a value that the rewritten
            graph does not have, found without running ggml.
        name, op: of the operation: fx node and ATen operator, or IR node and its kind.
        shape, dtype: of the reference.
        source: ``file:line`` in the model's code, where it is known.
        delegate: index of the delegate, -1 for the host.
        ir_node: index of the IR node, -1 for none.
        errors: how far the value is from its reference.
    """

    stage: Stage
    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    source: str
    delegate: int
    ir_node: int
    errors: Errors

    @property
    def code(self) -> str:
        """The line of source code, empty when the file is not here."""
        path, _, line = self.source.rpartition(":")
        return linecache.getline(path, int(line)).strip() if path and line.isdigit() else ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: all attributes, the code, and the errors in place."""
        fields = asdict(self)
        return {**fields, **fields.pop("errors"), "code": self.code}


@dataclass(frozen=True)
class DiffReport:
    """Result of a comparison; ``str()`` gives the text form.

    Attributes:
        subject: the model or file.
        reference: the other side of the comparison.
        tolerance: the allowed error.
        values: every compared value, in the order in which they are computed; outputs at the end.
        not_compared: delegated operations without a value of their own (computed together with another, or sizes).
        verdict: where the first wrong value comes from, when that could be told: the lowering or the kernel.
    """

    subject: str
    reference: str
    tolerance: Tolerance
    values: tuple[Difference, ...]
    not_compared: int = 0
    verdict: str = ""

    @property
    def first(self) -> Difference | None:
        """The first value over tolerance."""
        return next((v for v in self.values if not v.errors.within), None)

    @property
    def ok(self) -> bool:
        """Whether everything is within tolerance."""
        return self.first is None

    def worst(self, count: int = 10) -> list[Difference]:
        """The values with the largest errors: those over tolerance first, then by ``nmse``."""
        return sorted(self.values, key=lambda v: (v.errors.within, -v.errors.nmse, -v.errors.peak))[:count]

    def as_dict(self, worst: int = 10) -> dict[str, Any]:
        """For JSON. Infinite errors (NaN where there should be a number) stay infinite."""
        return {
            "subject": self.subject,
            "reference": self.reference,
            "ok": self.ok,
            "tolerance": asdict(self.tolerance),
            "compared": len(self.values),
            "not_compared": self.not_compared,
            "first": self.first.as_dict() if self.first else None,
            "verdict": self.verdict,
            "worst": [v.as_dict() for v in self.worst(worst)],
        }

    def text(self, worst: int = 10) -> str:
        """The report with a table of the ``worst`` values."""
        limits = f"NMSE {self.tolerance.nmse:g}, peak {self.tolerance.peak:g}"
        lines = [f"{self.subject} against {self.reference}: {len(self.values)} values compared, allowed: {limits}"]
        if self.not_compared:
            lines[0] += f"; {self.not_compared} operations have no value of their own"
        first = self.first
        if first is None:
            lines.append("all within tolerance")
        else:
            over = sum(not v.errors.within for v in self.values)
            lines += [f"{over} over tolerance; the first:", *_details(first)]
            if self.verdict:
                lines.append(f"  verdict  {self.verdict}")
        if rows := self.worst(worst):
            lines += ["", "worst:", _table(rows)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


_WHERE = {"rewrite": "rewritten graph", "input": "host", "output": "output"}


def _details(v: Difference) -> list[str]:
    e = v.errors
    where = _WHERE.get(v.stage) or f"delegate {v.delegate}, IR node {v.ir_node}"
    lines = [
        f"  {v.op}  {v.name}  {v.dtype}{list(v.shape)}  ({where})",
        f"  NMSE {e.nmse:.3g}, largest error {e.max_abs:.3g}, peak {e.peak:.3g}, {e.wrong} elements off by themselves",
    ]
    if v.source:
        lines.append(f"  {v.source}")
    if v.code:
        lines.append(f"      {v.code}")
    return lines


def _table(values: list[Difference]) -> str:
    rows = []
    for v in values:
        e = v.errors
        place = v.source.rpartition("/")[2]
        mark = " " if e.within else "!"
        rows.append((mark, f"{e.nmse:.2e}", f"{e.max_abs:.2e}", f"{e.peak:.2e}", v.stage, v.op, v.name, place))
    return table(rows, ("", "NMSE", "max abs", "peak", "stage", "op", "value", "source"), right=(1, 2, 3))
