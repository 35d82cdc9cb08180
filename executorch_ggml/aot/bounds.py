"""Bounds of the integers of a program, by node.

ggml computes in F32, which holds every integer up to 2^24. So an integer operator may run on ggml if its result and its
operands provably stay within that, for every input and every dynamic size. Positions, masks, counts and values computed
from them do. An int32 or int64 from the user has no bound. ``integer_bounds`` finds the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.fx import Node

EXACT = 1 << 24
"""F32 holds all integers of at most this size."""

META = "ggml_bounds"
"""Under this name a call node keeps ``{"result": range, "inputs": (range, ...)}``."""

Range = tuple[int, int]


def is_exact(bounds: Range | None) -> bool:
    """Whether F32 holds every value."""
    return bounds is not None and bounds[0] >= -EXACT and bounds[1] <= EXACT


def of_result(node: Node) -> Range | None:
    """Smallest and largest integer that a call node can yield; None when nothing is known."""
    found: Mapping[str, Any] = node.meta.get(META, {})
    bounds: Range | None = found.get("result")
    return bounds


def of_input(node: Node, source: Node) -> Range | None:
    """The same of one of the tensors that a call node reads.

    Kept with the reader: in a partition the source itself may be a placeholder, about which nothing can be said.
    """
    found: Mapping[str, Any] = node.meta.get(META, {})
    at = node.all_input_nodes.index(source)
    sources: tuple[Range | None, ...] = found.get("inputs", ())
    return sources[at] if at < len(sources) else None
