"""Proves that two tensors are the cosine and sine tables of a rotary embedding, and finds its parameters.

The tables are evaluated on chosen positions (`_evaluate`), and frequencies are recovered from their phases. The
parameters are theta, linear scaling and a common magnitude, if these explain the frequencies. Otherwise they include a
table of frequency factors. The result of `executorch_ggml::rope` with these parameters is checked against the tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.fx import Node

from executorch_ggml.aot.custom_ops import ROPE_NEOX

from ._evaluate import Evaluator, NotEvaluableError, bind_sizes, positions_of
from ._graph import GraphEditor, args_of, aten, dim_index, is_call, same_dim, shape

# Positions at which tables that are computed (not looked up) are compared.
_SAMPLES = (0, 1, 2, 3, 5, 8, 16, 17, 32, 64, 100, 128, 256, 511, 512, 1024, 2048, 4095, 4096, 16384, 65536, 131071)
_LOOKUPS = (aten.index.Tensor, aten.index_select.default, aten.embedding.default, aten.gather.default)
_CHUNKS = 2048  # evaluations at most, when the number of positions per evaluation is fixed
_NO_LEAF_LENGTH = 512


@dataclass
class RopeTables:
    """The parameters that the tables have.

    Attributes:
        positions: the integer tensor [T] or [1, T] behind them, None if they are for positions 0..T-1.
        axis: dimension of x (negative) along which positions run: -2 or -3.
        freq_base, freq_scale, attn_factor: as in `executorch_ggml::rope`.
        freq_factors: float32 [n_dims / 2] or None.
    """

    positions: Node | None
    axis: int
    freq_base: float
    freq_scale: float
    attn_factor: float
    freq_factors: torch.Tensor | None


class _Tables:
    """cos and sin as functions of positions, reduced to [number of positions, n_dims / 2]."""

    def __init__(self, editor: GraphEditor, x: Node, cos: Node, sin: Node, mode: int, half: int, axis: int) -> None:
        self.editor, self.x, self.cos, self.sin, self.mode, self.half, self.axis = editor, x, cos, sin, mode, half, axis
        leaves = positions_of(editor, cos, sin)
        if len(leaves) > 1:
            raise NotEvaluableError(f"the tables depend on {len(leaves)} integer tensors")
        self.leaf = leaves[0] if leaves else None
        rows = shape(x)[axis]
        if self.leaf is None:
            self.length = rows if isinstance(rows, int) else None
        else:
            dims = shape(self.leaf)
            if len(dims) not in (1, 2) or (len(dims) == 2 and dims[0] != 1) or not same_dim(dims[-1], rows):
                raise NotEvaluableError(f"positions have shape {dims}, x has {rows} rows")
            self.length = dims[-1] if isinstance(dims[-1], int) else None
        self.limit = self._lookup_limit()

    def _lookup_limit(self) -> int | None:
        """Rows of the smallest table that is indexed with the positions, None if there is no such table."""
        limit: int | None = None
        seen: set[Node] = set()
        stack = [self.cos, self.sin]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            stack.extend(node.all_input_nodes)
            if is_call(node, *_LOOKUPS):
                table = args_of(node)[0]
                rows = shape(table)[_looked_up(node, len(shape(table)))]
                if not isinstance(rows, int):
                    raise NotEvaluableError("a table of unknown length")
                limit = rows if limit is None else min(limit, rows)
        return limit

    def at(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, each [len(positions), n_dims / 2] in float64."""
        step = self.length or max(len(positions), 1)
        if (len(positions) + step - 1) // step > _CHUNKS:
            raise NotEvaluableError("too many evaluations")
        rows: list[tuple[torch.Tensor, torch.Tensor]] = []
        for start in range(0, len(positions), step):
            chunk = list(positions[start : start + step])
            used = len(chunk)
            chunk += [chunk[-1]] * ((self.length or used) - used)
            cos, sin = self._evaluate(torch.tensor(chunk, dtype=torch.int64))
            rows.append((cos[:used], sin[:used]))
        return torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])

    def _evaluate(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes: dict[str, int] = {}
        rows = shape(self.x)[self.axis]
        if self.leaf is not None:
            sizes = bind_sizes(self.leaf, len(positions))
            positions = positions.reshape((1,) * (len(shape(self.leaf)) - 1) + (-1,))
        elif isinstance(rows, torch.SymInt):
            if not rows.node.expr.is_Symbol:
                raise NotEvaluableError(f"the number of rows is {rows}")
            sizes = {str(rows.node.expr): len(positions)}
        for dim in shape(self.x):  # other dynamic dimensions (a batch) do not matter: any size shows the same
            if isinstance(dim, torch.SymInt):
                for symbol in dim.node.expr.free_symbols:
                    sizes.setdefault(str(symbol), 2)
        evaluate = Evaluator(self.editor, self.leaf, positions, sizes)
        full = [evaluate.size(d) for d in shape(self.x)]
        return self._reduce(evaluate(self.cos), full), self._reduce(evaluate(self.sin), full)

    def _reduce(self, table: torch.Tensor, full: list[int]) -> torch.Tensor:
        width = table.shape[-1] if table.dim() else 1
        if width == 2 * self.half:
            halves = (
                (table[..., : self.half], table[..., self.half :])
                if self.mode == ROPE_NEOX
                else (table[..., 0::2], table[..., 1::2])
            )
            if not torch.equal(*halves):
                raise NotEvaluableError("the two halves of the table differ")
            table = halves[0]
        elif width != self.half:
            raise NotEvaluableError(f"the table is {width} wide")
        try:
            table = table.expand([*full[:-1], self.half])
        except RuntimeError as error:
            raise NotEvaluableError(str(error)) from error
        table = table.movedim(self.axis, -2).reshape(-1, full[self.axis], self.half)
        if not torch.equal(table, table[:1].expand_as(table)):
            raise NotEvaluableError("the table depends on more than the position")
        return table[0]


def _looked_up(node: Node, rank: int) -> int:
    """The dimension of a table that a lookup runs along."""
    if is_call(node, aten.index.Tensor):
        return next(i for i, index in enumerate(args_of(node)[1]) if index is not None)
    return 0 if is_call(node, aten.embedding.default) else dim_index(args_of(node)[1], rank)


def _frequencies(tables: _Tables, positions: list[int]) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Frequencies [n_dims / 2], magnitude, and how exactly each frequency is known (absolute)."""
    cos, sin = tables.at(positions)
    magnitudes = torch.hypot(cos, sin)
    magnitude = float(magnitudes.mean())
    if magnitude <= 0.0 or (magnitudes - magnitude).abs().max() > 1e-6 * magnitude:
        raise NotEvaluableError("cos and sin do not lie on a circle")
    if abs(magnitude - 1.0) < 1e-7:
        magnitude = 1.0
    if 1 not in positions:
        raise NotEvaluableError("one position is not enough to see the frequencies")
    phases = torch.atan2(sin, cos)
    frequency = phases[positions.index(1)].clone()
    last = 1
    for row, position in enumerate(positions):
        # The estimate so far says how many whole turns lie before this phase; that holds while steps only double.
        if last < position <= 2 * last + 1:
            turns = torch.round((frequency * position - phases[row]) / (2.0 * math.pi))
            frequency = (phases[row] + 2.0 * math.pi * turns) / position
            last = position
    if (frequency <= 0.0).any():
        raise NotEvaluableError("a frequency is not positive")
    noise = 2e-7 if tables.limit is not None else 1e-12
    return frequency, magnitude, torch.full_like(frequency, noise / last)


def _parameters(
    frequency: torch.Tensor, noise: torch.Tensor, magnitude: float, leaf: Node | None, axis: int
) -> RopeTables:
    """The fewest parameters that give these frequencies."""
    half = len(frequency)
    index = torch.arange(half, dtype=torch.float64)
    # The ratio of the first two frequencies tells theta even where lower ones are rescaled (Llama 3, YaRN).
    theta = float((frequency[0] / frequency[1]) ** half) if half > 1 else 10000.0
    candidates = [theta]
    if half > 1:
        candidates.append(float((frequency[0] / frequency[-1]) ** (half / (half - 1.0))))
    for candidate in candidates:
        rounded = float(f"{candidate:.4g}")
        for base in (rounded, candidate):
            if not 1.0 < base < 1e12:
                continue
            plain = torch.pow(torch.tensor(base, dtype=torch.float64), -index / half)
            scale = float(frequency[0])
            scale = 1.0 if abs(scale - 1.0) < 1e-6 else float(f"{scale:.9g}")
            if bool(((plain * scale - frequency).abs() <= 1e-6 * frequency + noise).all()):
                return RopeTables(leaf, axis, base, scale, magnitude, None)
    base = float(f"{theta:.4g}") if 1.0 < theta < 1e12 else 10000.0
    plain = torch.pow(torch.tensor(base, dtype=torch.float64), -index / half)
    return RopeTables(leaf, axis, base, 1.0, magnitude, (plain / frequency).to(torch.float32))


def _check(tables: _Tables, found: RopeTables, positions: Sequence[int]) -> None:
    """Compare the tables with the ones that the found parameters give."""
    half = tables.half
    index = torch.arange(half, dtype=torch.float64)
    frequency = torch.pow(torch.tensor(found.freq_base, dtype=torch.float64), -index / half) * found.freq_scale
    if found.freq_factors is not None:
        frequency = frequency / found.freq_factors.to(torch.float64)
    cos, sin = tables.at(positions)
    angle = torch.tensor(positions, dtype=torch.float64)[:, None] * frequency
    # float32 tables carry the rounding of the angle; theta is known to 1e-6.
    tolerance = (2e-6 + 1.3e-6 * angle) * found.attn_factor
    for table, expected in ((cos, angle.cos()), (sin, angle.sin())):
        if not bool(((table - expected * found.attn_factor).abs() <= tolerance).all()):
            raise NotEvaluableError("the tables are not those of a rotary embedding")


def prove_tables(editor: GraphEditor, x: Node, cos: Node, sin: Node, mode: int, n_dims: int) -> RopeTables | None:
    """The rotary embedding of the tables `cos` and `sin`, which are multiplied with x or with its two parts.

    Args:
        x: [..., D]; positions run along dimension -2 ([B, H, T, D]) or -3 ([B, T, H, D]).
        mode: how x is split into pairs, ROPE_NORM or ROPE_NEOX.
        n_dims: D of x, all of which is rotated.

    Returns:
        None if it is not proved.
    """
    for axis in (-2, -3):
        if len(shape(x)) < -axis:
            continue
        try:
            tables = _Tables(editor, x, cos, sin, mode, n_dims // 2, axis)
            if tables.leaf is None:
                every = list(range(tables.length or _NO_LEAF_LENGTH))
            elif tables.limit is not None:
                every = list(range(tables.limit))
            else:
                every = list(_SAMPLES)
            seen = [p for p in every if p < 4 or p in _SAMPLES or p & (p - 1) == 0]
            found = _parameters(*_ordered(_frequencies(tables, seen)), tables.leaf, axis)
            _check(tables, found, every)
            _check(tables, found, every[:5])  # with another length: the length itself must not matter
            return found
        except NotEvaluableError:
            continue
    return None


def _ordered(known: tuple[torch.Tensor, float, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, float]:
    frequency, magnitude, noise = known
    return frequency, noise, magnitude
