"""Builder, part 2: storage decisions, shapes, views, copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import graph as g
from ._leaves import Leaves
from .dims import Dim, Shape, divide, is_one, product, same, same_shape, shape_of, simplify, static
from .errors import IrError, Unsupported
from .types import DType, GgmlType
from .value import Kind, Ne, Value, contiguous_strides, fold

_EXACT = 1 << 24


class Layout(Leaves):
    """Everything that moves or renames elements without computing on them."""

    # ---------------------------------------------------------------- deciding how a value is stored

    def f32(self, v: Value) -> Value:
        """The value as F32 elements in the graph (any layout). Booleans become 0 and 1.

        Raises:
            Unsupported: integers that F32 may not hold, float64, and KV caches: the session chooses their type.
        """
        if v.kind is Kind.NODE and v.type is GgmlType.F32:
            return v
        if v.kind is Kind.NODE and v.type is GgmlType.I32:
            return self.cast(v, GgmlType.F32)
        if self.is_exact_input(v):
            return self.input_leaf(v, GgmlType.F32)
        if v.kind is Kind.WEIGHT and (v.dtype.is_integer or v.dtype is DType.BOOL):
            return self._small_integers(v)
        if not v.dtype.is_float:
            raise Unsupported(f"arithmetic on {v.dtype.name.lower()} stays with ExecuTorch")
        if v.kind is Kind.INPUT:
            return self.input_leaf(v, GgmlType.F32)
        if v.kind is Kind.WEIGHT:
            if v.swapped:
                plain = self._unswap(v)
                derived = self.derive_weight("t", [plain], _ints(v.shape), lambda a: a.swapaxes(-1, -2))
                if derived is not None:
                    return self.weight_leaf(derived, g.ELEMENTWISE, GgmlType.F32)
                return self.transpose(self.weight_leaf(plain, g.ELEMENTWISE, GgmlType.F32), -1, -2)
            return self.weight_leaf(v, g.ELEMENTWISE, GgmlType.F32)
        if self.is_kv_cache(v):
            raise Unsupported("a KV cache is read by attention only")
        return self.cast(v, GgmlType.F32)

    def _small_integers(self, v: Value) -> Value:
        data = self.data_of(v)
        if data is None:
            raise Unsupported("integer constants must be embedded")
        if data.size and (data.min() < -_EXACT or data.max() > _EXACT):
            raise Unsupported(f"{v.dtype.name.lower()} constants beyond 2^24")
        return self.constant(data.astype(np.float32), v.dtype)

    def rounded(self, v: Value) -> Value:
        """Integers of any size as the nearest F32, as torch converts them to float32. Their order is kept."""
        if v.kind is Kind.INPUT and v.dtype.is_integer:
            return self.input_leaf(v, GgmlType.F32)
        return self.f32(v)

    def _unswap(self, v: Value) -> Value:
        shape = (*v.shape[:-2], v.shape[-1], v.shape[-2])
        ne = fold(shape)
        return Value(Kind.WEIGHT, shape, v.dtype, v.type, ne, contiguous_strides(ne), ref=v.ref)

    def ids(self, v: Value, rows: Dim | None = None) -> Value:
        """Row indices as I32 (dense). An int32/int64 input is converted, with a range check, on upload.

        Indices that the graph computes (as F32) are held within a table of ``rows`` rows.
        """
        if v.kind is Kind.NODE and v.type is GgmlType.F32 and v.dtype.is_integer:
            if rows is not None:
                last = float(static(rows, "the table that computed indices point into") - 1)
                v = self.contiguous(v)
                v = self._emit("Clamp", (v,), v.shape, dtype=v.dtype, ne=v.ne, min=0.0, max=last)
            return self._emit("Cast", (v,), v.shape, dtype=v.dtype, type=GgmlType.I32, ne=v.ne)
        if not v.dtype.is_integer:
            raise Unsupported(f"indices are {v.dtype.name.lower()}, not integers")
        if v.kind is Kind.INPUT:
            return self.input_leaf(v, GgmlType.I32)
        if v.kind is Kind.WEIGHT:
            data = self.data_of(v)
            if data is None:
                raise Unsupported("integer constants must be embedded")
            if data.size and (data.min() < -(2**31) or data.max() >= 2**31):
                raise Unsupported("integer constants exceed 32 bits")
            if data.size and isinstance(rows, int) and not 0 <= data.min() <= data.max() < rows:
                raise Unsupported(f"constant positions outside a table of {rows} rows")
            return self.constant(data, v.dtype, GgmlType.I32)
        if v.type is not GgmlType.I32:
            raise Unsupported(f"indices stored as {v.type.name}")
        return self.contiguous(v)

    def ids64(self, v: Value, rows: Dim) -> Value:
        """Row indices for ``set_rows`` into a table of ``rows`` rows: I64 from an input, else I32."""
        if v.kind is Kind.INPUT and v.dtype.is_integer:
            return self.input_leaf(v, GgmlType.I64)
        return v if v.kind is Kind.NODE and v.type is GgmlType.I64 else self.ids(v, rows)

    def mask(self, v: Value) -> Value:
        """An attention mask as dense F16: booleans become 0 / -inf, floats are converted.

        Raises:
            Unsupported: integers.
        """
        if v.kind is Kind.NODE and v.dtype is DType.BOOL and v.type is GgmlType.F32:
            # Far below every score, and -inf once it is rounded to half; 0 * -inf would be NaN.
            v = self.contiguous(v)
            hidden = self._emit("Scale", (v,), v.shape, dtype=DType.FLOAT32, ne=v.ne, scale=1e30, bias=-1e30)
            return self.cast(hidden, GgmlType.F16)
        if v.kind is Kind.INPUT and v.dtype is DType.BOOL:
            return self.input_leaf(v, GgmlType.F16, mask=True)
        if v.dtype.is_float:
            if v.kind is Kind.INPUT:
                return self.input_leaf(v, GgmlType.F16)
            return self.contiguous(self.cast(self.f32(v), GgmlType.F16))
        raise Unsupported(f"a {v.dtype.name.lower()} mask that is computed inside the graph")

    def cast(self, v: Value, type: GgmlType) -> Value:
        """Converts between F32, F16 and BF16 (rounding to nearest), or I32 to F32; dense result."""
        if v.kind is not Kind.NODE:
            v = self.f32(v)
        if v.type is type:
            return v
        allowed = (v.type.is_float and type.is_float) or (v.type, type) == (GgmlType.I32, GgmlType.F32)
        if not allowed:
            raise Unsupported(f"conversion from {v.type.name} to {type.name}")
        return self._emit("Cast", (v,), v.shape, dtype=v.dtype, type=type, ne=v.ne)

    def contiguous(self, v: Value) -> Value:
        """The value with dense elements; copies only when they are not."""
        if v.kind is not Kind.NODE or v.is_contiguous:
            return v
        return self._emit("Cont", (v,), v.shape, dtype=v.dtype, type=v.type, ne=v.ne)

    def dense_rows(self, v: Value) -> Value:
        """The value with unit stride along the last torch dimension; copies only when it has not."""
        return v if v.rows_are_dense else self.contiguous(v)

    def detach(self, v: Value) -> Value:
        """A copy in memory of its own, for values that read a state about to change."""
        if v.state < 0:
            return v
        return self._emit("Cont", (v,), v.shape, dtype=v.dtype, type=v.type, ne=v.ne)

    def decided(self, v: Value) -> Value:
        """A value with storage: undecided floats become F32, node values pass."""
        return v if v.kind is Kind.NODE else self.f32(v)

    # ---------------------------------------------------------------- shapes

    def reshape(self, v: Value, shape: Shape) -> Value:
        """The same elements in row-major order under another torch shape of any rank.

        Raises:
            Unsupported: the numbers of elements cannot be proved equal.
        """
        shape = shape_of(shape)
        if same_shape(shape, v.shape):
            return v
        if not same(product(shape), v.numel):
            raise Unsupported(f"cannot prove that {list(v.shape)} and {list(shape)} have as many elements")
        if v.kind is Kind.WEIGHT and v.swapped:
            v = self.f32(v)
        if same_shape(fold(shape), v.ne):
            return v.with_shape(shape) if v.kind is Kind.NODE else self._as_shape(v, shape)
        if not v.is_contiguous:
            split = self._reshape_strided(v, shape)
            if split is not None:
                return split
        return self._as_shape(self.contiguous(v), shape)

    def _reshape_strided(self, v: Value, shape: Shape) -> Value | None:
        """A view with strides when the new shape only merges or splits dimensions that lie densely, else None."""
        if len(shape) > 4 or not v.rows_are_dense:
            return None
        strides = _restride(v.ne, v.strides, fold(shape))
        return None if strides is None else self._view(v, shape, strides, 0)

    def _view(self, v: Value, shape: Shape, strides: Ne, offset: Dim) -> Value:
        """Another window on the memory of ``v``; the first stride is 1. Offset and strides in elements."""
        if not same(strides[0], 1):
            raise IrError("a view must keep dense rows")
        base = v
        node = self.graph.nodes[v.node]
        if node.op == "View":
            # A view of a view is a view of its source: strides are absolute, offsets add up.
            parent = self.graph.nodes[node.src[0]]
            offset = simplify(offset + node.attrs["offset"])
            base = Value(
                Kind.NODE, v.shape, v.dtype, v.type, parent.ne, parent.strides, node=node.src[0], state=parent.state
            )
        return self._emit(
            "View",
            (base,),
            shape,
            dtype=v.dtype,
            type=v.type,
            ne=fold(shape),
            strides=strides,
            state=v.state,
            stride=tuple(strides),
            offset=offset,
        )

    def permute(self, v: Value, dims: Sequence[int]) -> Value:
        """torch's permute: dimension ``i`` of the result is dimension ``dims[i]`` of ``v``. Any rank.

        Up to rank 4 the result is a view. Above, dimensions that stay neighbours merge; a shape that still has more
        than four groups is reached in steps that each move one group by a copy.
        """
        rank = v.rank
        order = [d % rank for d in dims]
        if sorted(order) != list(range(rank)):
            raise IrError(f"{list(dims)} is not a permutation of {rank} dimensions")
        shape = tuple(v.shape[d] for d in order)
        if order == list(range(rank)):
            return v
        if v.kind is Kind.WEIGHT and order == [*range(rank - 2), rank - 1, rank - 2] and rank <= 4:
            ne = fold(shape)
            return Value(v.kind, shape, v.dtype, v.type, ne, contiguous_strides(ne), ref=v.ref, swapped=not v.swapped)
        # Dimensions of size one may go anywhere: when the others keep their order nothing moves.
        moving = [d for d in order if not is_one(v.shape[d])]
        if moving == sorted(moving):
            return self.reshape(v, shape)
        if v.kind is not Kind.NODE:
            v = self.f32(v)
        if rank <= 4:
            return self._permute4(v, order)
        groups: list[list[int]] = []
        for d in moving:
            if groups and moving.index(groups[-1][-1]) + 1 == moving.index(d) and _adjacent(v.shape, groups[-1][-1], d):
                groups[-1].append(d)
            else:
                groups.append([d])
        sizes = {tuple(grp): product(v.shape[d] for d in grp) for grp in groups}
        current = sorted((tuple(grp) for grp in groups), key=lambda grp: grp[0])
        target = [tuple(grp) for grp in groups]
        v = self.reshape(v, (v.numel,)) if len(current) == 1 else v
        if len(current) <= 4:
            v = self.reshape(v, tuple(sizes[c] for c in current))
            v = self.contiguous(self._permute4(v, [current.index(t) for t in target]))
            return self.reshape(v, shape)
        for place, wanted in enumerate(target):
            at = current.index(wanted)
            if at == place:
                continue
            before = product(sizes[c] for c in current[:place])
            between = product(sizes[c] for c in current[place:at])
            after = product(sizes[c] for c in current[at + 1 :])
            v = self.reshape(v, (before, between, sizes[wanted], after))
            v = self.contiguous(self._permute4(v, [0, 2, 1, 3]))
            current.insert(place, current.pop(at))
        return self.reshape(v, shape)

    def _permute4(self, v: Value, order: Sequence[int]) -> Value:
        rank = v.rank
        axes = [0, 1, 2, 3]
        for result_dim, source_dim in enumerate(order):
            axes[rank - 1 - source_dim] = rank - 1 - result_dim
        source = v
        node = self.graph.nodes[v.node]
        if node.op == "Permute":
            # Two permutations in a row are one.
            inner = node.attrs["axes"]
            axes = [axes[inner[i]] for i in range(4)]
            parent = self.graph.nodes[node.src[0]]
            source = Value(
                Kind.NODE, v.shape, v.dtype, v.type, parent.ne, parent.strides, node=node.src[0], state=parent.state
            )
        ne: list[Any] = [1] * 4
        strides: list[Any] = [0] * 4
        for i, axis in enumerate(axes):
            ne[axis], strides[axis] = source.ne[i], source.strides[i]
        shape = tuple(v.shape[d] for d in order)
        if axes == [0, 1, 2, 3]:
            return Value(
                Kind.NODE, shape, v.dtype, v.type, source.ne, source.strides, node=source.node, state=source.state
            )
        return self._emit(
            "Permute",
            (source,),
            shape,
            dtype=v.dtype,
            type=v.type,
            ne=(ne[0], ne[1], ne[2], ne[3]),
            strides=(strides[0], strides[1], strides[2], strides[3]),
            state=v.state,
            axes=tuple(axes),
        )

    def transpose(self, v: Value, a: int, b: int) -> Value:
        """torch's transpose of two dimensions."""
        order = list(range(v.rank))
        order[a % v.rank], order[b % v.rank] = order[b % v.rank], order[a % v.rank]
        return self.permute(v, order)

    def unsqueeze(self, v: Value, dim: int) -> Value:
        """A dimension of size one inserted before ``dim`` (negative counts from the end of the result)."""
        at = dim % (v.rank + 1)
        return self._insert_ones(v, (*v.shape[:at], 1, *v.shape[at:]))

    def squeeze(self, v: Value, dims: Sequence[int]) -> Value:
        """Drops the named dimensions of the literal size 1."""
        drop = {d % v.rank for d in dims} if v.rank else set()
        return self._insert_ones(v, tuple(n for d, n in enumerate(v.shape) if d not in drop or not is_one(n)))

    def _insert_ones(self, v: Value, shape: Shape) -> Value:
        return self.reshape(v, shape)

    def slice(self, v: Value, dim: int, start: Dim, length: Dim, step: int = 1) -> Value:
        """``length`` entries along ``dim`` from ``start``, ``step`` apart; a view wherever ggml can express one.

        ``start`` and ``length`` are already resolved (no negative values), as torch's slice clamps them.
        """
        dim %= v.rank
        v = self.decided(v)
        shape = (*v.shape[:dim], length, *v.shape[dim + 1 :])
        if step == 1 and same_shape(shape, v.shape):
            return v
        if v.rank > 4:
            before, after = product(v.shape[:dim]), product(v.shape[dim + 1 :])
            flat = self.slice(self.reshape(v, (before, v.shape[dim], after)), 1, start, length, step)
            return self.reshape(flat, shape)
        axis = v.rank - 1 - dim
        if axis == 0 and step != 1:
            # Rows must stay dense: read the dimension as a column of a [.., n, 1] tensor instead.
            if v.rank == 4:
                v = self.contiguous(v)
                merged = self.reshape(v, (product(v.shape[:2]), *v.shape[2:]))
                return self.reshape(self.slice(merged, 2, start, length, step), shape)
            column = self.reshape(self.contiguous(v), (*v.shape, 1))
            return self.reshape(self.contiguous(self.slice(column, dim, start, length, step)), shape)
        if not v.rows_are_dense:
            v = self.contiguous(v)
        strides = list(v.strides)
        offset = simplify(start * strides[axis])
        strides[axis] = simplify(strides[axis] * step)
        return self._view(v, shape, (strides[0], strides[1], strides[2], strides[3]), offset)

    def skew(self, v: Value) -> Value:
        """[H, T, 2T - 1] as [H, T, T]: row i from column T - 1 - i on. A view."""
        v = self.contiguous(self.f32(v))
        heads, length, _ = v.shape
        step = simplify(2 * length - 2)
        plane = product((length, v.shape[2]))
        return self._view(v, (heads, length, length), (1, step, plane, product((heads, plane))), simplify(length - 1))

    def select(self, v: Value, dim: int, index: Dim) -> Value:
        """Entry ``index`` (not negative) along ``dim``, which disappears."""
        dim %= v.rank
        part = self.slice(v, dim, index, 1)
        return self.reshape(part, (*v.shape[:dim], *v.shape[dim + 1 :]))

    def expand(self, v: Value, shape: Shape) -> Value:
        """Repeats dimensions of size 1 (and missing leading ones) up to ``shape``; a copy, unless nothing changes."""
        shape = shape_of(shape)
        v = self.decided(v)
        lead = len(shape) - v.rank
        if lead < 0:
            raise Unsupported(f"cannot expand {list(v.shape)} to {list(shape)}")
        v = self.reshape(v, (1,) * lead + v.shape)
        repeats: list[Dim | None] = []
        for have, want in zip(v.shape, shape, strict=True):
            if same(have, want):
                repeats.append(None)
            elif is_one(have):
                repeats.append(want)
            else:
                raise Unsupported(f"cannot prove that {list(v.shape)} expands to {list(shape)}")
        return self._repeat_groups(v, shape, repeats)

    def repeat(self, v: Value, counts: Sequence[Dim]) -> Value:
        """torch's repeat: the whole tensor ``counts[i]`` times along dimension ``i``."""
        v = self.decided(v)
        v = self.reshape(v, (1,) * (len(counts) - v.rank) + v.shape)
        shape = shape_of(n * c for n, c in zip(v.shape, counts, strict=True))
        return self._repeat_groups(v, shape, [None if is_one(c) else n for n, c in zip(shape, counts, strict=True)])

    def _repeat_groups(self, v: Value, shape: Shape, repeats: Sequence[Dim | None]) -> Value:
        """Repeat where ``repeats[i]`` is the new size; neighbours that do not repeat are merged to fit four."""
        if all(r is None for r in repeats):
            return v
        if v.type is GgmlType.F16:
            raise IrError("repeat of F16")
        if len(shape) <= 4:
            return self._repeat_to(self.dense_rows(v), shape)
        v = self.contiguous(v)
        for dim, size in enumerate(repeats):
            if size is not None:
                before, after = product(v.shape[:dim]), product(v.shape[dim + 1 :])
                new_shape = (*v.shape[:dim], size, *v.shape[dim + 1 :])
                part = self._repeat_to(self.reshape(v, (before, v.shape[dim], after)), (before, size, after))
                v = self.reshape(part, new_shape)
        return v

    def _repeat_to(self, v: Value, shape: Shape) -> Value:
        return self._emit("Repeat", (v,), shape, dtype=v.dtype, type=v.type)

    def concat(self, values: Sequence[Value], dim: int) -> Value:
        """torch's cat of float values along ``dim``."""
        parts = [self.dense_rows(self.f32(v)) for v in values]
        rank = parts[0].rank
        dim %= rank
        if rank > 4:
            before, after = product(parts[0].shape[:dim]), product(parts[0].shape[dim + 1 :])
            flat = self.concat([self.reshape(p, (before, p.shape[dim], after)) for p in parts], 1)
            total = flat.shape[1]
            return self.reshape(flat, (*parts[0].shape[:dim], total, *parts[0].shape[dim + 1 :]))
        result = parts[0]
        for part in parts[1:]:
            shape = (*result.shape[:dim], simplify(result.shape[dim] + part.shape[dim]), *result.shape[dim + 1 :])
            result = self._emit("Concat", (result, part), shape, dtype=result.dtype, dim=rank - 1 - dim)
        return result

    def pad_zeros(self, v: Value, before: Sequence[int], after: Sequence[int]) -> Value:
        """Zeros around a float value of rank <= 4; ``before`` and ``after`` per torch dimension."""
        v = self.contiguous(self.f32(v))
        if v.rank > 4:
            raise Unsupported("padding of more than 4 dimensions")
        if not any(before) and not any(after):
            return v
        shape = shape_of(b + n + a for n, b, a in zip(v.shape, before, after, strict=True))
        fill = [0] * (4 - v.rank)
        return self._emit(
            "Pad",
            (v,),
            shape,
            dtype=v.dtype,
            before=(*reversed([int(b) for b in before]), *fill),
            after=(*reversed([int(a) for a in after]), *fill),
        )


def _ints(shape: Shape) -> tuple[int, ...]:
    return tuple(static(d, "weight shape") for d in shape)


def _adjacent(shape: Shape, a: int, b: int) -> bool:
    """Whether only dimensions of size one lie between dimensions a < b."""
    return a < b and all(is_one(shape[d]) for d in range(a + 1, b))


def _restride(ne: Ne, strides: Ne, target: Ne) -> Ne | None:
    """Element strides that show ``target`` over memory described by (ne, strides), or None when a copy is needed."""
    old = [(n, s) for n, s in zip(ne, strides, strict=True) if not is_one(n)]
    new: list[Any] = []
    merged: list[tuple[Any, Any]] = []
    for n, s in old:
        if merged and same(merged[-1][0] * merged[-1][1], s):
            merged[-1] = (simplify(merged[-1][0] * n), merged[-1][1])
        else:
            merged.append((n, s))
    at = 0
    left: Dim | None = None
    stride: Dim = 0
    for n in target:
        if is_one(n):
            new.append(None)
            continue
        if left is None:
            if at == len(merged):
                return None
            left, stride = merged[at]
        rest = divide(left, n)
        if rest is None:
            return None
        new.append(stride)
        stride = simplify(stride * n)
        left = None if is_one(rest) else rest
        if left is None:
            at += 1
    if left is not None or at != len(merged):
        return None
    filled: list[Any] = []
    running: Dim = 1
    for n, s in zip(target, new, strict=True):
        filled.append(running if s is None else s)
        running = simplify(filled[-1] * n)
    if not same(filled[0], 1):
        return None
    return (filled[0], filled[1], filled[2], filled[3])
