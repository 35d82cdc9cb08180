"""Facts about the operators of the IR: attributes in ``schema/ggml_ir.fbs``, made a table by the build.

The native library has the same table (``csrc/ir/operators.h``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

NO_SOURCE, ALL_SOURCES, CALLER = -1, -2, -3
"""Instead of the number of a source."""


@dataclass(frozen=True)
class Operator:
    """The facts about one operator.

    Attributes:
        least, most: number of sources.
        memory: the result lies in memory of this source, of the ``CALLER``, or (``NO_SOURCE``) of its own.
        type_of: the result has the type of this source, decided by a file or not.
        writes: whether it changes that memory.
        moves: the result holds the elements of this source, or of ``ALL_SOURCES``, in other places.
        row_numbers: the source of numbers of rows, counted along dimension ``axis`` of source 0.
        places: the result's numbers are places in rows of this source.
        since: the payload version that brought it.
        newer: fields that need a newer reader: (from this value on, version); from 0 on: whenever it is not 0.
    """

    least: int
    most: int
    memory: int
    type_of: int
    writes: bool
    moves: int
    row_numbers: int
    axis: int
    places: int
    has_fields: bool
    since: int
    newer: Mapping[str, tuple[int, int]]

    def moved(self, sources: int) -> range:
        """Which of so many sources the elements of the result come from."""
        if self.moves == ALL_SOURCES:
            return range(sources)
        return range(0) if self.moves == NO_SOURCE else range(self.moves, self.moves + 1)

    def reader(self, fields: Mapping[str, Any]) -> int:
        """The version of the reader that a node with these fields needs; 0: any."""
        versions = [self.since]
        for name, (first, version) in self.newer.items():
            value = fields.get(name, 0)
            if value >= first if first else value:
                versions.append(version)
        return max(versions)


@cache
def operators() -> Mapping[str, Operator]:
    """By name, in the order of the union ``Op``."""
    # Generated in the build; imported late so that the package imports without it.
    from . import _ggml_ir

    rows: Mapping[str, Any] = _ggml_ir.OPERATORS
    return {name: Operator(*row) for name, row in rows.items()}


def operator(name: str) -> Operator:
    """The facts about one operator."""
    return operators()[name]
