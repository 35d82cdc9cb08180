"""A `.pte` as ExecuTorch's own reader sees it: the inputs of its delegates, and its data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from executorch_ggml.errors import FileError, FormatError, InvalidArgumentError
from executorch_ggml.errors.files import open_regular

BACKEND = "GgmlBackend"


@dataclass(frozen=True)
class DelegateCall:
    """A call of one of our delegates; the runtime counts them in this order.

    Attributes:
        arguments: per argument (inputs, then outputs), its value's index in the method.
    """

    arguments: list[int]


class PteView:
    """One method of a `.pte`.

    Attributes:
        inputs: index of the value of each input of the method.
        calls: calls of our delegates.

    Raises:
        FileError, FormatError: a file that cannot be read, or is no `.pte`.
        InvalidArgumentError: no such method; the message names those there are.
    """

    def __init__(self, path: str | os.PathLike[str], method: str) -> None:
        from executorch.exir._serialize._program import deserialize_pte_binary

        try:
            with open_regular(path) as source:
                data = source.read()
        except FileError:
            raise
        except OSError as e:
            raise FileError(f"{os.fspath(path)}: {e.strerror or e}") from e
        try:
            file = deserialize_pte_binary(data)
        except Exception as e:  # the reader's errors for bytes that are no .pte
            raise FormatError(f"{os.fspath(path)}: not a .pte: {e or type(e).__name__}") from e
        plans = {plan.name: plan for plan in file.program.execution_plan}
        if method not in plans:
            raise InvalidArgumentError(f"{os.fspath(path)} has no method {method!r}; it has {', '.join(sorted(plans))}")
        plan = plans[method]
        self.inputs: list[int] = list(plan.inputs)
        self.calls = list(_calls(plan))
        self._named = file.named_data

    def named_data(self) -> dict[str, bytes]:
        """Data by key; empty when the `.pte` holds none."""
        if self._named is None:
            return {}
        return {key: bytes(self._named.buffers[e.buffer_index]) for key, e in self._named.pte_data.items()}


def _calls(plan: Any) -> Iterator[DelegateCall]:
    ours = [i for i, delegate in enumerate(plan.delegates) if delegate.id == BACKEND]
    found: dict[int, list[int]] = {}
    for chain in plan.chains:
        for instruction in chain.instructions:
            arguments = instruction.instr_args
            if type(arguments).__name__ == "DelegateCall":
                found[arguments.delegate_index] = list(arguments.args)
    return (DelegateCall(found.get(index, [])) for index in ours)
