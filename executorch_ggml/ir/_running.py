"""Builder, part 6: rows in which each element depends on those before it, and the search in rows."""

from __future__ import annotations

from enum import IntEnum

from ._recurrent import Recurrent
from .dims import same, same_shape
from .errors import IrError
from .types import DType, GgmlType
from .value import Value


class ScanKind(IntEnum):
    """As the schema numbers them."""

    PROD = 0
    LOG_SUM_EXP = 1


class Running(Recurrent):
    """Kernels of the CPU alone."""

    def scan(self, kind: ScanKind, v: Value) -> Value:
        """Each element of the last dimension combined with all before it, in double."""
        v = self.contiguous(self.f32(v))
        return self._emit("Scan", (v,), v.shape, dtype=v.dtype, ne=v.ne, kind=int(kind))

    def running_max(self, v: Value, smallest: bool = False) -> Value:
        """Places of the largest (smallest) element so far along the last dimension, the last of equal ones: I32."""
        v = self.contiguous(self.f32(v))
        return self._emit("RunningMax", (v,), v.shape, dtype=DType.INT64, type=GgmlType.I32, ne=v.ne, smallest=smallest)

    def search(self, rows: Value, numbers: Value, right: bool = False) -> Value:
        """rows [..., N] in rising order, numbers [..., M]: how many of its row stand before each number.

        ``right``: equal ones do, too. The result has F32 elements.
        """
        rows, numbers = self.contiguous(self.f32(rows)), self.contiguous(self.f32(numbers))
        fits = rows.rank == numbers.rank and same_shape(rows.shape[:-1], numbers.shape[:-1])
        if not fits or not all(same(a, b) for a, b in zip(rows.ne[1:], numbers.ne[1:], strict=True)):
            raise IrError(f"search for {list(numbers.shape)} in {list(rows.shape)}")
        return self._emit("Search", (rows, numbers), numbers.shape, dtype=DType.INT64, ne=numbers.ne, right=right)
