"""Parameters that a GGUF keeps in another form: an expression of a tensor of the file."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch

from executorch_ggml.errors import BindError, InvalidArgumentError
from executorch_ggml.gguf.header import GgufHeader
from executorch_ggml.ir.types import GgmlType

__all__ = ["Tensor"]

_FLOATS = (GgmlType.F32, GgmlType.F16, GgmlType.BF16)


@dataclass(frozen=True)
class Tensor:
    """A tensor of a GGUF, or a parameter made of it. ``names=`` of ``export_with_gguf`` may give it for a parameter.

    The expression becomes part of the graph. The stored blocks stay where the file has them.

    Attributes:
        key: the name in the file.
        range: the first row, and the one behind the last; None: all rows.
        added: a number that is added to every element.
    """

    key: str
    range: tuple[int, int] | None = None
    added: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key:
            raise InvalidArgumentError(f"Tensor: the name must be a text, not {self.key!r:.60}")

    def rows(self, begin: int, end: int) -> Tensor:
        """[n, ...] -> [end - begin, ...], of any ggml type: whole rows are used where they lie.

        Raises InvalidArgumentError for rows that are no range, or behind those that an earlier call left.
        """
        if type(begin) is not int or type(end) is not int or not 0 <= begin < end:
            raise InvalidArgumentError(f"{self.key}: rows({begin!r}, {end!r}): want whole numbers 0 <= begin < end")
        first, last = self.range or (0, end)
        if first + end > last:
            raise InvalidArgumentError(f"{self.key}: rows({begin}, {end}) of {last - first} rows")
        return dataclasses.replace(self, range=(first + begin, first + end))

    def plus(self, number: float) -> Tensor:
        """Adds a number to every element, as ``plus(-1.0)`` for norms that the file has with 1 added.

        The file's type must be F32, F16 or BF16: quantised blocks cannot hold the sum.
        Raises InvalidArgumentError for anything but a finite number.
        """
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise InvalidArgumentError(f"{self.key}: plus({number!r:.60}): want a finite number")
        return dataclasses.replace(self, added=self.added + float(number))

    def shape(self, header: GgufHeader) -> tuple[int, ...]:
        """The shape of the parameter. Raises BindError if the file's tensor cannot give it."""
        there = header.tensors[self.key]
        shape = tuple(there.shape)
        if self.added and there.type not in [int(kind) for kind in _FLOATS]:
            raise BindError(
                f"{header.path}: {self.key}.plus({self.added:g}) needs F32, F16 or BF16, and the file has type "
                f"{there.type} in quantised blocks; add the number in the module instead"
            )
        if self.range is None:
            return shape
        if not shape or self.range[1] > shape[0]:
            raise BindError(f"{header.path}: {self.key}.rows{self.range}: the tensor has shape {shape}")
        return (self.range[1] - self.range[0], *shape[1:])

    def apply(self, data: torch.Tensor) -> torch.Tensor:
        """The parameter, of the whole tensor of the file."""
        if self.range is not None:
            data = data[self.range[0] : self.range[1]]
        return data + self.added if self.added else data
