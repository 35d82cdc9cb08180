"""Builder, part 3: elementwise operations, reductions, normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from ._layout import Layout
from .dims import Shape, is_one, product, same, same_shape, shape_of
from .errors import IrError, Unsupported
from .types import DType, GgmlType
from .value import Value


class UnaryKind(IntEnum):
    """As the schema numbers them."""

    ABS = 0
    SGN = 1
    NEG = 2
    STEP = 3
    TANH = 4
    ELU = 5
    RELU = 6
    SIGMOID = 7
    GELU = 8
    GELU_QUICK = 9
    SILU = 10
    HARD_SWISH = 11
    HARD_SIGMOID = 12
    EXP = 13
    GELU_ERF = 14
    SOFTPLUS = 15
    EXPM1 = 16
    FLOOR = 17
    CEIL = 18
    ROUND = 19
    TRUNC = 20
    SQR = 21
    SQRT = 22
    LOG = 23
    SIN = 24
    COS = 25
    GELU_TANH = 26
    POWER = 27
    POWER_OF = 28
    TANHSHRINK = 29
    ERFINV = 30
    LGAMMA = 31
    DIGAMMA = 32


class BinaryKind(IntEnum):
    """As the schema numbers them."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3


class GluKind(IntEnum):
    """As the schema numbers them."""

    REGLU = 0
    GEGLU = 1
    SWIGLU = 2
    SWIGLU_OAI = 3
    GEGLU_ERF = 4
    GEGLU_QUICK = 5


class Pointwise(Layout):
    """Arithmetic on F32 values. Operands may be undecided; results are dense unless said otherwise."""

    # ---------------------------------------------------------------- one operand

    def unary(self, kind: UnaryKind, v: Value, parameter: float = 0.0) -> Value:
        """One of the elementwise functions; the parameter is an exponent or a base."""
        v = self.contiguous(self.f32(v))
        return self._emit("Unary", (v,), v.shape, dtype=v.dtype, ne=v.ne, kind=int(kind), parameter=float(parameter))

    def leaky_relu(self, v: Value, slope: float) -> Value:
        """``x`` where positive, else ``slope * x``."""
        v = self.contiguous(self.f32(v))
        return self._emit("LeakyRelu", (v,), v.shape, dtype=v.dtype, ne=v.ne, slope=float(slope))

    def clamp(
        self, v: Value, minimum: float = float("-inf"), maximum: float = float("inf"), *, keeps_nan: bool = False
    ) -> Value:
        """``min(max(x, minimum), maximum)``; NaN becomes the maximum, or on the CPU stays NaN if requested."""
        v = self.contiguous(self.f32(v))
        bounds: dict[str, Any] = {"min": float(minimum), "max": float(maximum), "keeps_nan": keeps_nan}
        return self._emit("Clamp", (v,), v.shape, dtype=v.dtype, ne=v.ne, **bounds)

    def scale(self, v: Value, scale: float, bias: float = 0.0) -> Value:
        """``x * scale + bias``."""
        v = self.f32(v)
        if scale == 1.0 and bias == 0.0:
            return v
        if scale == 0.0 and math.copysign(1.0, scale) < 0.0:  # FlatBuffers would leave the sign out with the default
            return self.scale(self.unary(UnaryKind.NEG, v), 0.0, bias)
        v = self.contiguous(v)
        return self._emit("Scale", (v,), v.shape, dtype=v.dtype, ne=v.ne, scale=float(scale), bias=float(bias))

    def reciprocal(self, v: Value) -> Value:
        """``1 / x``."""
        v = self.f32(v)
        return self.binary(BinaryKind.DIV, self.fill(1.0, v.shape), v)

    # ---------------------------------------------------------------- two operands

    def binary(self, kind: BinaryKind, a: Value, b: Value) -> Value:
        """``a op b`` with torch's broadcasting, any rank.

        ggml repeats the second operand onto the first, and nothing else. So commutative operands are swapped. If both
        broadcast, or the first of a difference or quotient does, the first is expanded before.
        """
        a, b = self.f32(a), self.f32(b)
        shape = self.broadcast(a.shape, b.shape)
        rank = len(shape)
        dtype = _promoted(a.dtype, b.dtype)
        a = self.reshape(a, (1,) * (rank - a.rank) + a.shape)
        b = self.reshape(b, (1,) * (rank - b.rank) + b.shape)
        if not same_shape(a.shape, shape):
            if kind in (BinaryKind.ADD, BinaryKind.MUL) and same_shape(b.shape, shape):
                a, b = b, a
            elif kind is BinaryKind.SUB and same_shape(b.shape, shape):
                kind, a, b = BinaryKind.ADD, self.scale(b, -1.0), a
            else:
                a = self.expand(a, shape)
        result_shape = shape
        if rank > 4:
            a, b = self._fold_broadcast(a, b)
        a, b = self.dense_rows(a), self.dense_rows(b)
        result = self._emit("Binary", (a, b), a.shape, dtype=dtype, ne=a.ne, kind=int(kind))
        return self.reshape(result, result_shape)

    def broadcast(self, a: Shape, b: Shape) -> Shape:
        """torch's broadcast shape.

        Raises:
            Unsupported: two dimensions that are neither provably equal nor literally 1.
        """
        rank = max(len(a), len(b))
        out = []
        for x, y in zip((1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b), strict=True):
            if is_one(x) or same(x, y):
                out.append(y)
            elif is_one(y):
                out.append(x)
            else:
                raise Unsupported(f"cannot prove that {list(a)} and {list(b)} broadcast")
        return shape_of(out)

    def _fold_broadcast(self, a: Value, b: Value) -> tuple[Value, Value]:
        """Both operands with neighbouring dimensions merged where ``b`` repeats alike; at most four groups."""
        groups: list[tuple[bool, list[int]]] = []
        for dim, (x, y) in enumerate(zip(a.shape, b.shape, strict=True)):
            if is_one(x):
                continue
            repeats = not same(x, y)
            if groups and groups[-1][0] == repeats:
                groups[-1][1].append(dim)
            else:
                groups.append((repeats, [dim]))
        if len(groups) > 4:
            b = self.expand(b, a.shape)
            groups = [(False, list(range(a.rank)))]
        a_shape = tuple(product(a.shape[d] for d in dims) for _, dims in groups)
        b_shape = tuple(1 if repeats else product(b.shape[d] for d in dims) for repeats, dims in groups)
        return self.reshape(a, a_shape or (1,)), self.reshape(b, b_shape or (1,))

    def add(self, a: Value, b: Value) -> Value:
        """``a + b`` with broadcasting."""
        return self.binary(BinaryKind.ADD, a, b)

    def mul(self, a: Value, b: Value) -> Value:
        """``a * b`` with broadcasting."""
        return self.binary(BinaryKind.MUL, a, b)

    def glu(self, kind: GluKind, gate: Value, up: Value | None = None, swapped: bool = False) -> Value:
        """``act(gate) * up``; with one source its rows are split into (gate, up), or (up, gate) when ``swapped``."""
        gate = self._contiguous_1(self.f32(gate))
        if up is None:
            half = product((gate.shape[-1],))
            if not isinstance(half, int) or half % 2:
                raise Unsupported("a gated unit needs an even, static last dimension")
            shape = (*gate.shape[:-1], half // 2)
            return self._emit("Glu", (gate,), shape, dtype=gate.dtype, kind=int(kind), swapped=swapped)
        up = self._contiguous_1(self.f32(up))
        if not same_shape(gate.shape, up.shape):
            raise Unsupported("gate and up have different shapes")
        return self._emit("Glu", (gate, up), gate.shape, dtype=gate.dtype, ne=gate.ne, kind=int(kind), swapped=swapped)

    def _contiguous_1(self, v: Value) -> Value:
        """Dense rows, and rows at one constant distance (ggml_is_contiguous_1)."""
        s, n = v.strides, v.ne
        even = (is_one(n[2]) or same(s[2], s[1] * n[1])) and (is_one(n[3]) or same(s[3], s[2] * n[2]))
        return v if v.rows_are_dense and even else self.contiguous(v)

    # ---------------------------------------------------------------- rows (the last torch dimension)

    def norm(self, v: Value, eps: float) -> Value:
        """``(x - mean) / sqrt(var + eps)`` of each row, biased variance."""
        v = self.dense_rows(self.f32(v))
        return self._emit("Norm", (v,), v.shape, dtype=v.dtype, ne=v.ne, eps=float(eps))

    def rms_norm(self, v: Value, eps: float) -> Value:
        """``x / sqrt(mean(x^2) + eps)`` of each row."""
        v = self.dense_rows(self.f32(v))
        return self._emit("RmsNorm", (v,), v.shape, dtype=v.dtype, ne=v.ne, eps=float(eps))

    def l2_norm(self, v: Value, eps: float) -> Value:
        """``x / max(sqrt(sum(x^2)), eps)`` of each row."""
        v = self.dense_rows(self.f32(v))
        return self._emit("L2Norm", (v,), v.shape, dtype=v.dtype, ne=v.ne, eps=float(eps))

    def softmax(self, v: Value, mask: Value | None = None, scale: float = 1.0, *, empty_is_zero: bool = False) -> Value:
        """``softmax(x * scale + mask)`` of each row; the mask is F16 or F32 and at least as big as one matrix.

        A row of nothing but -inf is NaN, or zeros if asked.
        """
        v = self.contiguous(self.f32(v))
        src = (v,) if mask is None else (v, self.contiguous(mask))
        how: dict[str, Any] = {"scale": float(scale), "max_bias": 0.0, "empty_is_zero": empty_is_zero}
        return self._emit("SoftMax", src, v.shape, dtype=v.dtype, ne=v.ne, **how)

    def _rows(self, op: str, v: Value) -> Value:
        v = self.contiguous(self.f32(v))
        return self._emit(op, (v,), (*v.shape[:-1], 1), dtype=v.dtype)

    def sum_rows(self, v: Value) -> Value:
        """Sum over the last dimension, kept with size 1."""
        return self._rows("SumRows", v)

    def mean_rows(self, v: Value) -> Value:
        """Mean over the last dimension, kept with size 1."""
        return self._rows("Mean", v)

    def argmax(self, v: Value) -> Value:
        """Index of a maximum of each row as I32, last dimension dropped. Which of several equal ones is unspecified."""
        v = self.contiguous(self.f32(v))
        rows = self.reshape(v, (product(v.shape[:-1]), v.shape[-1]))
        found = self._emit("Argmax", (rows,), (rows.shape[0],), dtype=DType.INT64, type=GgmlType.I32)
        return self.reshape(found, v.shape[:-1])

    def max_rows(self, v: Value) -> Value:
        """Maximum over the last dimension, kept with size 1 (NaN is not propagated)."""
        v = self.contiguous(self.f32(v))
        count, width = product(v.shape[:-1]), v.shape[-1]
        where = self.reshape(self.argmax(v), (count, 1))
        table = self.reshape(v, (count, width, 1))
        best = self._emit("GetRows", (table, where), (count, 1, 1), dtype=v.dtype)
        return self.reshape(best, (*v.shape[:-1], 1))

    def cumsum(self, v: Value) -> Value:
        """Running sum along the last dimension."""
        v = self.contiguous(self.f32(v))
        return self._emit("Cumsum", (v,), v.shape, dtype=v.dtype, ne=v.ne)

    def argsort(self, v: Value, descending: bool) -> Value:
        """Indices that sort each row, I32; NaN is the largest. On the CPU equal elements stay in order."""
        v = self.contiguous(self.f32(v))
        return self._emit(
            "Argsort", (v,), v.shape, dtype=DType.INT64, type=GgmlType.I32, ne=v.ne, descending=descending
        )

    def top_k(self, v: Value, k: int, smallest: bool = False) -> Value:
        """Indices of the k largest of each row, falling, or smallest, rising: I32; NaN is the largest.

        On the CPU equal ones come as torch has them.
        """
        v = self.contiguous(self.f32(v))
        if isinstance(v.shape[-1], int) and k > v.shape[-1]:
            raise IrError(f"top {k} of {v.shape[-1]}")
        return self._emit(
            "TopK", (v,), (*v.shape[:-1], k), dtype=DType.INT64, type=GgmlType.I32, k=int(k), smallest=smallest
        )

    def reduce(self, op: str, v: Value, dims: Sequence[int], keepdim: bool) -> Value:
        """``op`` ("sum", "mean" or "max") over any torch dimensions (none given: all of them)."""
        v = self.f32(v)
        rank = v.rank
        if not rank:
            return v  # torch takes its dimension 0 for one of one entry
        axes = sorted({d % rank for d in dims}) if dims else list(range(rank))
        kept = tuple(n for d, n in enumerate(v.shape) if d not in axes)
        shape = tuple(1 if d in axes else n for d, n in enumerate(v.shape)) if keepdim else kept
        if all(is_one(v.shape[d]) for d in axes):
            return self.reshape(v, shape)
        if axes != list(range(rank - len(axes), rank)):
            v = self.permute(v, [d for d in range(rank) if d not in axes] + axes)
        rows = self.reshape(self.contiguous(v), (product(kept), product(v.shape[rank - len(axes) :])))
        function = {"sum": self.sum_rows, "mean": self.mean_rows, "max": self.max_rows}[op]
        return self.reshape(function(rows), shape)


def _promoted(a: DType, b: DType) -> DType:
    if a is b:
        return a
    if DType.FLOAT32 in (a, b) or {a, b} == {DType.FLOAT16, DType.BFLOAT16}:
        return DType.FLOAT32
    return a if a.is_float else b
