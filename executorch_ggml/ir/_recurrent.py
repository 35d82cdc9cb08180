"""Builder, part 5: recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ._products import Products
from .dims import same_shape, static
from .errors import IrError
from .value import Value


class Cell(IntEnum):
    """As the schema numbers them."""

    TANH = 0
    RELU = 1
    LSTM = 2
    GRU = 3


GATES = {Cell.TANH: 1, Cell.RELU: 1, Cell.LSTM: 4, Cell.GRU: 3}


class Recurrent(Products):
    """Loops over steps."""

    def recurrence(
        self, cell: Cell, reverse: bool, w: Value, gates: Value, bias: Value | None, states: Sequence[Value]
    ) -> tuple[Value, Value]:
        """One direction of a layer: w [G H, H], gates [T, B, G H] (the inputs' share), bias [G H], states [B, H].

        Returns the hidden states [T, B, H], and the last state [B, H]: an LSTM's cell state, else the hidden state.
        """
        w, gates = self.contiguous(self.f32(w)), self.contiguous(self.f32(gates))
        first = [self.contiguous(self.f32(s)) for s in states]
        steps, batch, rows = gates.shape
        units = w.shape[1]
        count = static(steps, "the number of steps")
        expected = 2 if cell is Cell.LSTM else 1
        if len(first) != expected or any(not same_shape(s.shape, (batch, units)) for s in first):
            raise IrError(f"recurrence of {[list(s.shape) for s in first]} over {list(gates.shape)}")
        if static(rows, "gates") != GATES[cell] * static(units, "units") or not same_shape(w.shape, (rows, units)):
            raise IrError(f"recurrence of {list(w.shape)} over {list(gates.shape)}")
        offset = self.fill(0.0, (rows,)) if bias is None else self._bias(bias, rows)
        total = count + (1 if cell is Cell.LSTM else 0)
        result = self._emit(
            "Recurrence",
            (w, gates, offset, *first),
            (total, batch, units),
            dtype=gates.dtype,
            cell=int(cell),
            reverse=bool(reverse),
        )
        end = count if cell is Cell.LSTM else 0 if reverse else count - 1
        return self.slice(result, 0, 0, count), self.select(result, 0, end)
