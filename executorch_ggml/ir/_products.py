"""Builder, part 4: matrix products, rows by index, attention, convolution pieces."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from . import graph as g
from ._pointwise import Pointwise
from .dims import Dim, is_one, product, same, same_shape, shape_of, simplify
from .errors import IrError, Unsupported
from .types import DType, GgmlType
from .value import Kind, Value


class ScatterKind(IntEnum):
    """How a value and the old content of a row become one."""

    SET = 0
    ADD = 1
    MAX = 2
    MIN = 3
    MUL = 4


class HiddenKeys(IntEnum):
    """The effect of keys that a mask hides: as the schema numbers and explains them."""

    PASSED = 0
    COUNTED = 1
    CAUSAL = 2


class Products(Pointwise):
    """Operations that combine rows."""

    # ---------------------------------------------------------------- matrix products

    def mul_mat(self, w: Value, x: Value, bias: Value | None = None) -> Value:
        """``x @ w^T + bias``: w [..., N, K], x [..., M, K], bias [N] (with a 2-D ``w`` only) -> F32 [..., M, N].

        An undecided weight keeps the type that the file holds. With a 2-D ``w`` all leading dimensions of ``x`` are
        rows; otherwise both have equal rank <= 4 and each batch dimension of ``w`` is 1 or that of ``x``.
        """
        if w.kind is Kind.WEIGHT:
            w = self.weight_leaf(w, g.MATMUL) if not w.swapped else self.f32(w)
        elif w.kind is Kind.INPUT:
            w = self.f32(w)
        w, x = self.dense_rows(w), self.dense_rows(self.f32(x))
        if not same(w.shape[-1], x.shape[-1]):
            raise Unsupported(f"cannot prove that {w.shape[-1]} equals {x.shape[-1]} in a matrix product")
        out = (*x.shape[:-1], w.shape[-2])
        if w.rank == 2:
            flat = self.reshape(x, (product(x.shape[:-1]), x.shape[-1])) if x.rank != 2 else x
            sources = (w, flat) if bias is None else (w, flat, self._bias(bias, w.shape[0]))
            result = self._emit("MulMat", sources, (flat.shape[0], w.shape[0]), dtype=x.dtype)
            return self.reshape(result, out)
        if bias is not None:
            raise IrError("mul_mat of batches has no bias")
        if w.rank != x.rank or w.rank > 4:
            raise IrError(f"mul_mat of ranks {w.rank} and {x.rank}")
        for a, b in zip(w.shape[:-2], x.shape[:-2], strict=True):
            if not is_one(a) and not same(a, b):
                raise IrError(f"mul_mat cannot broadcast {list(w.shape)} onto {list(x.shape)}")
        return self._emit("MulMat", (w, x), out, dtype=x.dtype)

    def matmul(self, a: Value, b: Value, bias: Value | None = None) -> Value:
        """torch's matmul of operands of rank >= 2: a [..., M, K] @ b [..., K, N] -> [..., M, N], batches broadcast.

        bias [N] is added where b is one matrix; it may not be given where there are several.
        """
        if b.rank == 2 or (b.rank > 2 and all(is_one(d) for d in b.shape[:-2])):
            plain = self.reshape(b, b.shape[-2:]) if b.rank > 2 else b
            result = self.mul_mat(self._transposed(plain), a, bias)
            batch = self.broadcast(a.shape[:-2], b.shape[:-2])
            return self.reshape(result, (*batch, *result.shape[-2:]))
        if bias is not None:
            raise IrError("matmul of batches has no bias")
        batch = self.broadcast(a.shape[:-2], b.shape[:-2])
        a = self.expand(self.f32(a), (*batch, *a.shape[-2:]))
        if len(batch) > 2:
            b = self.expand(self.f32(b), (*batch, *b.shape[-2:]))
            flat = product(batch)
            a3, b3 = self.reshape(a, (flat, *a.shape[-2:])), self.reshape(b, (flat, *b.shape[-2:]))
            result = self.mul_mat(self._transposed(b3), a3)
        else:
            b = self.reshape(b, (1,) * (a.rank - b.rank) + b.shape)
            result = self.mul_mat(self._transposed(b), a)
        return self.reshape(result, (*batch, *result.shape[-2:]))

    def _transposed(self, b: Value) -> Value:
        return self.transpose(b, -1, -2)

    def mul_mat_id(self, experts: Value, x: Value, ids: Value) -> Value:
        """One matrix per row: experts [E, N, K], x [T, 1 | U, K], ids integer [T, U] -> F32 [T, U, N]."""
        if experts.kind is Kind.WEIGHT:
            experts = self.weight_leaf(experts, g.MATMUL)
        experts, x = self.dense_rows(self.decided(experts)), self.dense_rows(self.f32(x))
        ids = self.ids(ids, experts.shape[0])
        if (experts.rank, x.rank, ids.rank) != (3, 3, 2):
            raise IrError("mul_mat_id takes experts [E, N, K], x [T, 1|U, K], ids [T, U]")
        if not same(experts.shape[2], x.shape[2]) or not same(x.shape[0], ids.shape[0]):
            raise Unsupported("experts, rows and ids do not match")
        if not is_one(x.shape[1]) and not same(x.shape[1], ids.shape[1]):
            raise Unsupported("one row per token, or one per token and expert")
        return self._emit("MulMatId", (experts, x, ids), (*ids.shape, experts.shape[1]), dtype=x.dtype)

    def solve_triangular(self, a: Value, b: Value) -> Value:
        """x with ``a x = b``: a [..., N, N], of which the lower triangle is read, b and x [..., N, K]; rank <= 4."""
        a, b = self.contiguous(self.f32(a)), self.contiguous(self.f32(b))
        size = b.shape[-2]
        if a.rank != b.rank or a.rank > 4 or not same_shape(a.shape, (*b.shape[:-2], size, size)):
            raise IrError(f"solve_triangular of {list(a.shape)} and {list(b.shape)}")
        return self._emit("SolveTri", (a, b), b.shape, dtype=b.dtype, ne=b.ne)

    # ---------------------------------------------------------------- rows by index

    def get_rows(self, table: Value, ids: Value) -> Value:
        """table [N, K] (any type), ids integer of any shape -> F32 [*ids.shape, K]."""
        if table.kind is Kind.WEIGHT and not table.dtype.is_float:
            table = self.f32(table)  # ggml looks up no rows of integers
        elif table.kind is Kind.WEIGHT and not table.swapped:
            table = self.weight_leaf(table, g.ROWS)
        table = self.dense_rows(self.decided(table))
        if table.rank != 2:
            raise IrError("get_rows takes a matrix")
        ids = self.ids(ids, table.shape[0])
        flat = self.reshape(ids, (ids.numel,))
        rows = self._emit("GetRows", (table, flat), (ids.numel, table.shape[1]), dtype=table.dtype)
        return self.reshape(rows, (*ids.shape, table.shape[1]))

    def gather_rows(self, tables: Value, ids: Value) -> Value:
        """Rows of one table per batch entry: tables [B, N, K], ids integer [B, n] -> F32 [B, n, K]."""
        tables = self.dense_rows(self.f32(tables))
        ids = self.ids(ids, tables.shape[1])
        if (tables.rank, ids.rank) != (3, 2) or not same(tables.shape[0], ids.shape[0]):
            raise IrError(f"gather_rows of {list(tables.shape)} at {list(ids.shape)}")
        return self._emit("GetRows", (tables, ids), (*ids.shape, tables.shape[2]), dtype=tables.dtype)

    def set_rows(self, destination: Value, values: Value, ids: Value) -> Value:
        """Overwrites rows of a state in place: destination [R, K] (dense), values [n, K], ids integer [n].

        The result is the destination after the update. Values that still need the old contents are copied before
        (``before_overwrite``). Leading dimensions common to both operands may precede (rank <= 4, ids shared).
        """
        if destination.state < 0:
            raise Unsupported("rows can only be written into a mutable buffer that the delegate owns")
        if destination.rank != values.rank or not same(destination.shape[-1], values.shape[-1]):
            raise IrError(f"set_rows of {list(values.shape)} into {list(destination.shape)}")
        if ids.rank != 1 or not same(ids.shape[0], values.shape[-2]):
            raise IrError("set_rows needs one row index per row")
        values = self.detach(values) if values.state == destination.state else values
        values = self._as_kept(self.f32(values), destination)
        values, rows = self.dense_rows(values), self.ids64(ids, destination.shape[-2])
        if self.before_overwrite is not None:
            self.before_overwrite(destination.state)
        return self._emit(
            "SetRows",
            (destination, values, rows),
            destination.shape,
            dtype=destination.dtype,
            type=destination.type,
            ne=destination.ne,
            strides=destination.strides,
            state=destination.state,
        )

    def scatter(self, kind: ScatterKind, x: Value, values: Value, ids: Value) -> Value:
        """x [B, R, K] with values [B, n, K] put in rows: ids, integers [B|1, n, K|1], say which, for each column.

        Several values for one row are put there in order. Numbers are those of ``row_numbers``, or of ``ids``.
        """
        x, values = self.contiguous(self.f32(x)), self.contiguous(self.f32(values))
        if ids.kind is not Kind.NODE or ids.type is not GgmlType.I32:
            raise IrError("numbers of rows must be integers of the graph")
        fits = x.rank == values.rank == ids.rank == 3 and same(ids.shape[1], values.shape[1])
        for d in (0, 2):
            fits = fits and same(x.shape[d], values.shape[d])
            fits = fits and (is_one(ids.shape[d]) or same(ids.shape[d], x.shape[d]))
        if not fits:
            raise IrError(f"scatter of {list(values.shape)} at {list(ids.shape)} into {list(x.shape)}")
        return self._emit("Scatter", (x, values, self.contiguous(ids)), x.shape, dtype=x.dtype, kind=int(kind))

    def _as_kept(self, values: Value, state: Value) -> Value:
        """Values as a state keeps them: of torch's type, although the memory is F32."""
        kept = {DType.FLOAT16: GgmlType.F16, DType.BFLOAT16: GgmlType.BF16}.get(state.dtype)
        if kept is None or state.type is not GgmlType.F32:
            return values
        return self.cast(self.cast(values, kept), GgmlType.F32)

    def cpy(self, values: Value, destination: Value) -> Value:
        """Overwrites a state with ``values`` of the same shape; the result is the destination after the update."""
        if destination.state < 0:
            raise Unsupported("only a mutable buffer that the delegate owns can be written")
        values = self.expand(self._as_kept(self.f32(values), destination), destination.shape)
        values = self.detach(values) if values.state == destination.state else values
        if self.before_overwrite is not None:
            self.before_overwrite(destination.state)
        return self._emit(
            "Cpy",
            (values, destination),
            destination.shape,
            dtype=destination.dtype,
            type=destination.type,
            ne=destination.ne,
            strides=destination.strides,
            state=destination.state,
        )

    # ---------------------------------------------------------------- attention

    def causal_mask(self, positions: Value, kv_len: Dim, window: int = 0) -> Value:
        """F16 [T, kv_len]: 0 where ``j <= positions[i]`` (and ``positions[i] - j < window`` if a window), else -inf.

        ``positions`` is an integer input of rank 1 (the host computes the mask before the graph runs).
        """
        if positions.kind is not Kind.INPUT or positions.rank != 1:
            raise Unsupported("the causal mask needs its positions as a vector input of the delegate")
        leaf = self.ids(positions)
        shape = shape_of((leaf.shape[0], kv_len))
        return self._emit("CausalMask", (leaf,), shape, dtype=DType.FLOAT16, type=GgmlType.F16, window=int(window))

    def flash_attn(
        self,
        q: Value,
        k: Value,
        v: Value,
        mask: Value | None = None,
        *,
        scale: float,
        softcap: float = 0.0,
        max_bias: float = 0.0,
        hidden: HiddenKeys = HiddenKeys.PASSED,
    ) -> Value:
        """Attention: q [B, H, T, D], k [B, Hkv, S, D], v [B, Hkv, S, Dv] -> F32 **[B, T, H, Dv]**.

        H is a multiple of Hkv. The mask is F16, [T, S] with leading dimensions of 1 or (B, H). k and v may be views
        of a cache of any type.
        """
        q = self.dense_rows(self.f32(q))
        k, v = self.dense_rows(self.decided(k)), self.dense_rows(self.decided(v))
        if (q.rank, k.rank, v.rank) != (4, 4, 4):
            raise IrError("flash_attn takes operands of rank 4")
        b, h, t, d = q.shape
        if not (same(k.shape[3], d) and same(k.shape[2], v.shape[2]) and same(k.shape[1], v.shape[1])):
            raise Unsupported("shapes of query, key and value do not match")
        if not (isinstance(h, int) and isinstance(k.shape[1], int) and h % k.shape[1] == 0):
            raise Unsupported("the number of heads is not a multiple of the number of key heads")
        if not (same(k.shape[0], b) and same(v.shape[0], b)):
            raise Unsupported("query and key have different batches")
        src = [q, k, v]
        if mask is not None:
            mask = self.contiguous(mask)
            full = (1,) * (4 - mask.rank) + mask.shape
            allowed = (is_one(full[0]) or same(full[0], b)) and (is_one(full[1]) or same(full[1], h))
            if mask.type is not GgmlType.F16 or not same_shape(full[2:], (t, k.shape[2])) or not allowed:
                raise Unsupported(f"a mask of shape {list(mask.shape)} for queries {list(q.shape)}")
            src.append(mask)
        return self._emit(
            "FlashAttn",
            src,
            (b, t, h, v.shape[3]),
            dtype=q.dtype,
            scale=float(scale),
            max_bias=float(max_bias),
            softcap=float(softcap),
            hidden=int(hidden),
        )

    def rope(
        self,
        x: Value,
        positions: Value,
        freq_factors: Value | None = None,
        *,
        n_dims: int,
        mode: int,
        freq_base: float,
        freq_scale: float = 1.0,
        ext_factor: float = 0.0,
        attn_factor: float = 1.0,
        beta_fast: float = 32.0,
        beta_slow: float = 1.0,
        n_ctx_orig: int = 0,
    ) -> Value:
        """Rotary embedding: x [T, H, D] or [B, T, H, D], positions integer [T], factors float [n_dims / 2].

        mode 0 rotates pairs (2i, 2i+1), mode 2 pairs (i, i + n_dims/2); the formula is ggml_rope_ext's.
        """
        x = self.dense_rows(self.f32(x))
        if x.rank not in (3, 4) or positions.rank != 1 or not same(positions.shape[0], x.shape[-3]):
            raise Unsupported(f"rope of {list(x.shape)} at positions {list(positions.shape)}")
        if n_dims % 2 or (isinstance(x.shape[-1], int) and n_dims > x.shape[-1]):
            raise Unsupported(f"rope over {n_dims} of {x.shape[-1]} dimensions")
        # ggml wants rows of one head at a constant distance (contiguous_2 at least): copy other layouts.
        if not (is_one(x.ne[3]) or same(x.strides[3], x.strides[2] * x.ne[2])):
            x = self.contiguous(x)
        src = [x, self.ids(positions)]
        if freq_factors is not None:
            src.append(self.contiguous(self.f32(freq_factors)))
        return self._emit(
            "Rope",
            src,
            x.shape,
            dtype=x.dtype,
            ne=x.ne,
            n_dims=int(n_dims),
            mode=int(mode),
            n_ctx_orig=int(n_ctx_orig),
            freq_base=float(freq_base),
            freq_scale=float(freq_scale),
            ext_factor=float(ext_factor),
            attn_factor=float(attn_factor),
            beta_fast=float(beta_fast),
            beta_slow=float(beta_slow),
        )

    # ---------------------------------------------------------------- convolution and pooling

    def conv_2d(
        self,
        kernel: Value,
        x: Value,
        bias: Value | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Value:
        """Cross-correlation: kernel [O, C, KH, KW], x [N, C, H, W], bias [O] -> F32 [N, O, OH, OW].

        A kernel of [C, 1, KH, KW] (C > 1) is depthwise: one per channel. stride, padding and dilation are torch's
        (height, width).
        """
        kernel, x = self.contiguous(self.f32(kernel)), self.contiguous(self.f32(x))
        n, c, h, w = x.shape
        if not same(kernel.shape[1], c) and not (is_one(kernel.shape[1]) and same(kernel.shape[0], c)):
            raise IrError(f"conv_2d of {list(x.shape)} by {list(kernel.shape)}")
        oh = conv_size(h, kernel.shape[2], stride[0], padding[0], dilation[0])
        ow = conv_size(w, kernel.shape[3], stride[1], padding[1], dilation[1])
        sources = (kernel, x) if bias is None else (kernel, x, self._bias(bias, kernel.shape[0]))
        return self._emit(
            "Conv2d",
            sources,
            (n, kernel.shape[0], oh, ow),
            dtype=x.dtype,
            s0=stride[1],
            s1=stride[0],
            p0=padding[1],
            p1=padding[0],
            d0=dilation[1],
            d1=dilation[0],
        )

    def conv_3d(
        self,
        kernel: Value,
        x: Value,
        bias: Value | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
    ) -> Value:
        """Cross-correlation: kernel [O, C, KD, KH, KW], x [N, C, D, H, W], bias [O] -> F32 [N, O, OD, OH, OW].

        stride, padding and dilation are torch's (depth, height, width). Channels are static.
        """
        kernel, x = self.contiguous(self.f32(kernel)), self.contiguous(self.f32(x))
        outputs, channels, *taps = kernel.shape
        count, _, *sizes = x.shape
        if not same(channels, x.shape[1]) or not isinstance(channels, int):
            raise IrError(f"conv_3d of {list(x.shape)} by {list(kernel.shape)}")
        spatial = [conv_size(*of) for of in zip(sizes, taps, stride, padding, dilation, strict=True)]
        flat = self.reshape(kernel, (outputs * channels, *taps))
        volumes = self.reshape(x, (product((count, channels)), *sizes))
        sources = (flat, volumes) if bias is None else (flat, volumes, self._bias(bias, outputs))
        result = self._emit(
            "Conv3d",
            sources,
            (product((count, outputs)), *spatial),
            dtype=x.dtype,
            channels=channels,
            s0=stride[2],
            s1=stride[1],
            s2=stride[0],
            p0=padding[2],
            p1=padding[1],
            p2=padding[0],
            d0=dilation[2],
            d1=dilation[1],
            d2=dilation[0],
        )
        return self.reshape(result, (count, outputs, *spatial))

    def _bias(self, bias: Value, count: Dim) -> Value:
        bias = self.contiguous(self.f32(bias))
        if bias.rank != 1 or not same(bias.shape[0], count):
            raise IrError(f"a bias of {list(bias.shape)} for {count} results")
        return bias

    def pool_2d(
        self, x: Value, maximum: bool, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
    ) -> Value:
        """Pooling of [..., H, W] (rank <= 4); torch's (height, width) order; averages count the padding."""
        x = self.contiguous(self.f32(x))
        oh = conv_size(x.shape[-2], kernel[0], stride[0], padding[0], 1)
        ow = conv_size(x.shape[-1], kernel[1], stride[1], padding[1], 1)
        return self._emit(
            "Pool2d",
            (x,),
            (*x.shape[:-2], oh, ow),
            dtype=x.dtype,
            kind=0 if maximum else 1,
            k0=kernel[1],
            k1=kernel[0],
            s0=stride[1],
            s1=stride[0],
            p0=padding[1],
            p1=padding[0],
        )


def conv_size(size: Dim, kernel: Dim, stride: int, padding: int, dilation: int) -> Dim:
    """Length of a convolution's or pooling's result along one dimension: floor((n + 2p - d(k-1) - 1) / s) + 1."""
    span = simplify(size + 2 * padding - dilation * (kernel - 1) - 1)
    if isinstance(span, int):
        return span // stride + 1
    if stride == 1:
        return simplify(span + 1)
    import sympy

    return simplify(sympy.floor(sympy.sympify(span) / stride) + 1)
