"""The IR's reference interpreter on the real inputs of a delegate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executorch_ggml.ir.interpret import Interpreter
from executorch_ggml.ir.memory import Memory

See = Callable[[int, Any, Sequence[Any]], None]
"""Called with a node's index, its value and its sources' values (arrays of four dimensions, slowest first)."""


class WatchedInterpreter(Interpreter):
    """Shows the value of every node as it is computed (values that are updated in place change later).

    Caches are not rounded to the type that the payload suggests: the library is told to hold them in float32.

    Args:
        symbols: values of the payload's symbols. The runtime chooses some (how much of a cache it looks at), and other
            sizes would give other values.
    """

    def __init__(self, payload: bytes, weights: Mapping[str, Any], symbols: Sequence[int], see: See) -> None:
        super().__init__(payload, weights)
        self._given = list(symbols)
        self._see = see
        self._is_state = False

    def _bind(self) -> None:
        super()._bind()
        self.symbols = list(self._given)

    def element_type(self, type_number: int) -> Any:
        wanted = super().element_type(type_number)
        return self.compute if self._is_state and wanted.kind == "f" else wanted

    def _node(self, node: Any, values: list[Memory]) -> Memory:
        self._is_state = type(node.op).__name__ == "StateLeafT"
        result = super()._node(node, values)
        sources = [values[int(i)].array() for i in (node.src if node.src is not None else ())]
        self._see(len(values), result.array(), sources)
        return result
