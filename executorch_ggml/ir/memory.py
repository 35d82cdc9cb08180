"""Strided memory as ggml models it: a flat buffer, an offset, four dimensions and four element strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import IrError

Ne = tuple[int, int, int, int]


def _dense(ne: Ne) -> Ne:
    return (1, ne[0], ne[0] * ne[1], ne[0] * ne[1] * ne[2])


@dataclass(frozen=True)
class Memory:
    """One tensor: a window on a buffer that other tensors may share."""

    root: npt.NDArray[Any]
    offset: int
    ne: Ne
    strides: Ne

    @staticmethod
    def of(data: npt.NDArray[Any], ne: Ne) -> Memory:
        """Dense memory of its own with the row-major elements of ``data``."""
        flat = np.array(data).reshape(-1)
        if flat.size != int(np.prod(ne)):
            raise IrError(f"{flat.size} elements for {ne}")
        return Memory(flat, 0, ne, _dense(ne))

    def array(self) -> npt.NDArray[Any]:
        """The elements as a 4-D array, slowest dimension first; writes go to the buffer."""
        if 0 in self.ne:
            return np.zeros(self.ne[::-1], dtype=self.root.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.ne, self.strides, strict=True))
        if self.offset < 0 or last >= self.root.size:
            raise IrError(f"view ends at element {last} of {self.root.size}")
        size = self.root.itemsize
        return np.lib.stride_tricks.as_strided(
            self.root[self.offset :], self.ne[::-1], tuple(s * size for s in self.strides[::-1])
        )

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie densely."""
        return all(n == 1 or s == d for n, s, d in zip(self.ne, self.strides, _dense(self.ne), strict=True))

    def reshape(self, ne: Ne) -> Memory:
        """ggml_reshape: dense memory with other dimensions."""
        if not self.is_contiguous:
            raise IrError("reshape of a tensor that is not dense")
        if int(np.prod(ne)) != int(np.prod(self.ne)):
            raise IrError(f"reshape of {self.ne} to {ne}")
        return Memory(self.root, self.offset, ne, _dense(ne))

    def view(self, ne: Ne, strides: Ne, offset: int) -> Memory:
        """ggml_view_4d: absolute strides, offset from this tensor's first element."""
        if strides[0] != 1:
            raise IrError(f"view with stride {strides[0]} along rows")
        result = Memory(self.root, self.offset + offset, ne, strides)
        result.array()
        return result

    def permute(self, axes: Sequence[int]) -> Memory:
        """ggml_permute: source axis i becomes axis axes[i]."""
        ne, strides = [0] * 4, [0] * 4
        for i, axis in enumerate(axes):
            ne[axis], strides[axis] = self.ne[i], self.strides[i]
        return Memory(
            self.root, self.offset, (ne[0], ne[1], ne[2], ne[3]), (strides[0], strides[1], strides[2], strides[3])
        )
