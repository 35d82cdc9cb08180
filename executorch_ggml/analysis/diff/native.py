"""One call of a `.pte` in the library, with the values that it computes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from executorch_ggml.runtime._watch import WatchedValue
from executorch_ggml.runtime.program import Program


@dataclass
class Recording:
    """Inputs and values of a delegate, as the library shows them."""

    symbols: dict[int, int] = field(default_factory=dict)
    inputs: dict[int, Any] = field(default_factory=dict)
    nodes: dict[int, Any] = field(default_factory=dict)

    @property
    def symbol_list(self) -> list[int]:
        """Symbols in the payload's order."""
        return [self.symbols[i] for i in range(len(self.symbols))]

    @property
    def input_list(self) -> list[Any]:
        """Inputs in the payload's order."""
        return [self.inputs[i] for i in range(len(self.inputs))]


def record(
    program: Program, method: str, inputs: Sequence[Any], wanted: Collection[tuple[int, int]] | None = None
) -> tuple[list[Any], dict[int, Recording]]:
    """Outputs of one ordinary call, and the values of a second, watched call by delegate.

    Both start from the initial states. ``wanted``: the nodes to keep, as (delegate, index); None: all.
    """
    found: dict[int, Recording] = {}

    def see(value: WatchedValue) -> None:
        at = found.setdefault(value.delegate, Recording())
        if value.kind == "symbol":
            at.symbols[value.index] = int(value.data)
        elif value.kind == "input":
            at.inputs[value.index] = value.data
        elif wanted is None or (value.delegate, value.index) in wanted:
            at.nodes[value.index] = value.data

    program.reset()
    outputs = program.execute(method, inputs)
    program.reset()
    program.watch(method, inputs, see)
    return outputs, found
