"""Reshapes, permutations, repetitions and copies."""

from __future__ import annotations

import contextlib
import importlib

import torch

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot import integer_rules as bounds
from executorch_ggml.aot.bounds import is_exact
from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, DType, GgmlType, Kind, UnaryKind, Value
from executorch_ggml.ir.dims import is_one, shape_of

from .compare import equal, negated

_aten = torch.ops.aten


def _ids(x: torch.Tensor) -> torch.Tensor:
    """Something delegated after a movement, so that the movement is worth delegating."""
    return torch.relu(x)


@register(
    _aten.view.default,
    _aten.view_copy.default,
    _aten.reshape.default,
    _aten._unsafe_view.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.view(6, 10)), [(3, 4, 5)]),
        Case(lambda x: _ids(x.view(2, 3, 2, 5, 1)), [(3, 4, 5)], name="to rank 5"),
        Case(lambda x: _ids(x.view(4, 15)), [(2, 3, 2, 5, 1)], name="from rank 5"),
        Case(lambda x: _ids(x.transpose(0, 1).reshape(12)), [(3, 4)], name="of a transposed"),
        Case(lambda x: _ids(x.permute(0, 2, 1, 3).reshape(2, 4, 15)), [(2, 3, 4, 5)], name="heads back"),
        Case(lambda x: _ids(x.reshape(-1, 6)), [(5, 2, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        Case(lambda x: _ids(x.reshape(x.shape[0] * 2, 3)), [(5, 6)], dynamic=[{0: ("n", 1, 9)}], name="split dynamic"),
        Case(lambda x: _ids(x[:, 1:4].reshape(2, 12)), [(2, 6, 4)], name="of a slice"),
    ],
)
def view(b: Builder, n: NodeView) -> Value:
    """The same elements under another shape."""
    return b.reshape(n.tensor("self"), n.out.shape)


@register(_aten.flatten.using_ints, moves=True, bounds=bounds.first)
def flatten(b: Builder, n: NodeView) -> Value:
    """Neighbouring dimensions merged."""
    return b.reshape(n.tensor("self"), n.out.shape)


@register(
    _aten.unsqueeze.default,
    _aten.unsqueeze_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: (
        [Case(lambda x, d=d: _ids(x.unsqueeze(d)), [(2, 3, 4)], name=f"{d}") for d in (0, 1, 2, 3, -1, -2)]
        + [
            Case(lambda x: _ids(x.t().unsqueeze(1)), [(3, 4)], name="transposed"),
            Case(lambda x: _ids(x.unsqueeze(2)), [(2, 3, 4, 5)], name="to rank 5"),
        ]
    ),
)
def unsqueeze(b: Builder, n: NodeView) -> Value:
    """A dimension of one more."""
    return b.unsqueeze(n.tensor("self"), n.integer("dim"))


@register(
    _aten.squeeze.dim,
    _aten.squeeze.dims,
    _aten.squeeze.default,
    _aten.squeeze_copy.dim,
    _aten.squeeze_copy.dims,
    _aten.squeeze_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.squeeze(1)), [(2, 1, 4)]),
        Case(lambda x: _ids(x.squeeze(0)), [(2, 1, 4)], name="nothing"),
        Case(lambda x: _ids(x.squeeze()), [(1, 3, 1, 4)], name="all"),
        Case(lambda x: _ids(x.squeeze((0, 2))), [(1, 3, 1, 4)], name="two"),
    ],
)
def squeeze(b: Builder, n: NodeView) -> Value:
    """Dimensions of one dropped."""
    return b.reshape(n.tensor("self"), n.out.shape)


@register(
    _aten.permute.default,
    _aten.permute_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: (
        [
            Case(lambda x, p=p: _ids(x.permute(p)), [(2, 3, 4)], name=f"{p}")
            for p in [(0, 2, 1), (1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2)]
        ]
        + [
            Case(lambda x, p=p: _ids(x.permute(p)), [(2, 3, 4, 5)], name=f"{p}")
            for p in [(0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 3, 0), (3, 0, 1, 2), (2, 3, 0, 1)]
        ]
        + [
            Case(lambda x: _ids(x.permute(3, 0, 1, 2)), [(1, 3, 1, 2)], name="with ones"),
            Case(lambda x: _ids(x.permute(1, 2, 0).permute(1, 2, 0)), [(2, 3, 4)], name="twice"),
            Case(lambda x: _ids(x.permute(2, 0, 3, 1, 4)), [(2, 3, 2, 3, 2)], name="rank 5"),
            Case(lambda x: _ids(x.permute(0, 1, 4, 2, 3)), [(2, 3, 2, 3, 2)], name="rank 5, mergeable"),
            Case(lambda x: _ids(x.permute(5, 3, 1, 4, 2, 0)), [(2, 3, 2, 3, 2, 2)], name="rank 6"),
            Case(lambda x: _ids(x.permute(2, 0, 1)), [(5, 3, 4)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
        ]
    ),
)
def permute(b: Builder, n: NodeView) -> Value:
    """Dimension i of the result is dimension dims[i] of the source."""
    return b.permute(_movable(b, n), n.integers("dims"))


@register(
    _aten.transpose.int,
    _aten.transpose_copy.int,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.transpose(0, 2)), [(2, 3, 4)]),
        Case(lambda x: _ids(x.transpose(-1, 1)), [(2, 3, 4, 5)], name="negative"),
        Case(lambda x: _ids(x.transpose(1, 3)), [(2, 3, 2, 4, 2)], name="rank 5"),
    ],
)
def transpose(b: Builder, n: NodeView) -> Value:
    """Two dimensions exchanged."""
    return b.transpose(_movable(b, n), n.integer("dim0"), n.integer("dim1"))


@register(
    _aten.t.default,
    _aten.t_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [Case(lambda x: _ids(x.t()), [(3, 5)])],
)
def t(b: Builder, n: NodeView) -> Value:
    """Transposed matrix (vectors unchanged)."""
    x = _movable(b, n)
    return x if x.rank < 2 else b.transpose(x, 0, 1)


@register(
    _aten.expand.default,
    _aten.expand_copy.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.expand(3, 5)), [(1, 5)]),
        Case(lambda x: _ids(x.expand(3, 5)), [(3, 1)], name="rows"),
        Case(lambda x: _ids(x.expand(2, 3, 4, -1)), [(3, 1, 5)], name="new"),
        Case(lambda x: _ids(x[:, :, None].expand(2, 3, 4, 5, 2).reshape(2, 12, 5, 2)), [(2, 3, 5, 2)], name="GQA"),
        Case(lambda x: _ids(x.t().expand(2, 5, 3)), [(3, 5)], name="transposed"),
        Case(
            lambda x, y: y + x.expand(y.shape[0], -1), [(1, 3), (5, 3)], dynamic=[{}, {0: ("n", 1, 9)}], name="dynamic"
        ),
    ],
)
def expand(b: Builder, n: NodeView) -> Value:
    """Dimensions of one repeated."""
    return b.expand(_floats(b, n), n.out.shape)


@register(
    _aten.repeat.default,
    bounds=bounds.first,
    flops=flops.nothing,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: x.repeat(2, 3), [(3, 5)]),
        Case(lambda x: x.repeat(2, 1, 3), [(3, 5)], name="new"),
        Case(lambda x: x.repeat(1, 2, 1, 2, 1), [(2, 3, 2, 2, 2)], name="rank 5"),
        Case(lambda x: x.t().repeat(1, 2), [(3, 5)], name="transposed"),
        Case(lambda x: x.repeat(x.shape[0], 2), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def repeat(b: Builder, n: NodeView) -> Value:
    """The whole tensor several times along each dimension."""
    return b.repeat(_floats(b, n), n.dims("repeats"))


@register(
    _aten.clone.default,
    _aten.alias.default,
    _aten.alias_copy.default,
    _aten.detach.default,
    _aten.detach_copy.default,
    _aten.lift_fresh_copy.default,
    _aten.contiguous.default,
    moves=True,
    bounds=bounds.first,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.t().clone(memory_format=torch.contiguous_format)), [(3, 5)]),
        Case(lambda x: x.clone() + x.detach(), [(3, 5)], name="both"),
    ],
)
def clone(b: Builder, n: NodeView) -> Value:
    """The value itself: values do not change, so a copy is not needed."""
    return n.tensor("self")


@register(
    _aten._to_copy.default,
    _aten.to.dtype,
    moves=True,
    bounds=bounds.converted,
    either_side=True,
    ahead_of_time=True,
    cases=lambda: [
        Case(lambda x: _ids(x.to(torch.float32)), [(3, 5)], name="same"),
        Case(lambda x: x.to(torch.float16).to(torch.float32) + 0.25, [Arg((3, 5), low=-200, high=200)], name="rounds"),
        Case(lambda x: x.to(torch.bfloat16).to(torch.float32) * 2.0, [(3, 5)], name="rounds bfloat16"),
        Case(lambda x: x.to(torch.int64), [(3, 5)], refused="int64", name="to int"),
        Case(lambda x: x + torch.round(x).to(torch.bool), [(3, 5)], name="to bool"),
        Case(lambda x, y: x + y.to(torch.bool), [(3, 5), Arg((3, 5), torch.int64, -1, 1)], name="int to bool"),
        Case(lambda x, y: x + y.to(torch.float32), [(3, 5), Arg((3, 5), torch.int64, -9, 9)], name="int to float"),
        Case(lambda x, y: x + y.to(torch.float32), [(3, 5), Arg((3, 5), torch.bool)], name="bool to float"),
        Case(lambda x: x + torch.cumsum((x > 0).to(torch.int32), 1), [(3, 5)], name="bool to int"),
        Case(lambda x: x.to(torch.float64), [(3, 5)], refused="float64", name="to double"),
    ],
)
def to_copy(b: Builder, n: NodeView) -> Value:
    """Conversion of the element type, with its rounding."""
    return _convert(b, n.tensor("self"), n.out.dtype, is_exact(n.bounds))


def _truth(b: Builder, v: Value) -> Value:
    """1 for what is not zero. Rounding an integer to F32 leaves zero, and only zero, zero."""
    if not v.dtype.is_float:
        return b.unary(UnaryKind.STEP, b.unary(UnaryKind.ABS, b.rounded(v)))
    return negated(b, equal(b, b.f32(v), 0.0, whole=False))


def _convert(b: Builder, v: Value, to: DType, exact: bool) -> Value:
    if v.dtype is to:
        return v
    data = b.data_of(v) if v.kind is Kind.WEIGHT and v.dtype.is_integer and is_small(v) else None
    if data is not None and to is DType.FLOAT32:
        return b.constant(data, to)
    if v.dtype.is_integer and to.is_integer:
        if v.rank == 0:
            # A size or counter on its way between operators of the host: taking it costs an input and an output.
            raise Unsupported("a single integer stays with ExecuTorch")
        if exact and (v.kind is Kind.NODE or b.is_exact_input(v)):
            return b.decided(v).with_dtype(to)
        if v.kind is Kind.INPUT and _holds(to, v.dtype):
            return v.with_dtype(to)
        raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()}")
    if to is DType.BOOL:
        return _truth(b, v).with_dtype(to)
    if v.dtype.is_float != to.is_float and v.dtype.is_float:
        raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()} stays with ExecuTorch")
    if not to.is_float:  # a boolean
        if not exact:
            raise Unsupported(f"conversion from {v.dtype.name.lower()} to {to.name.lower()} stays with ExecuTorch")
        return b.f32(v).with_dtype(to)
    v = b.rounded(v)
    if to is DType.FLOAT32:
        return v.with_dtype(to)
    # Kept as F32 elements, but rounded as the narrow type rounds.
    narrow = b.cast(v, GgmlType.F16 if to is DType.FLOAT16 else GgmlType.BF16)
    return b.cast(narrow, GgmlType.F32).with_dtype(to)


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether an integer type has every value of another one."""
    if DType.UINT8 in (wide, narrow):
        return narrow is DType.UINT8 and wide is not DType.INT8
    return wide.itemsize >= narrow.itemsize


def is_small(v: Value) -> bool:
    """Whether a weight is a literal rather than a table (at most 1024 elements)."""
    return isinstance(v.numel, int) and v.numel <= 1024


def _movable(b: Builder, n: NodeView) -> Value:
    v = n.tensor("self")
    return v if v.kind is Kind.WEIGHT and v.dtype.is_float else _floats(b, n)


def _floats(b: Builder, n: NodeView) -> Value:
    v = n.tensor("self")
    if v.kind is Kind.NODE:
        return v
    if all(is_one(d) for d in v.shape) and shape_of(v.shape) == n.out.shape:
        return v
    return b.f32(v)


def _register_dim_order() -> None:
    """Edge-dialect copies that only name a memory layout."""
    ops = getattr(torch.ops, "dim_order_ops", None)
    rules = {"_clone_dim_order": (clone, bounds.first), "_to_dim_order_copy": (to_copy, bounds.converted)}
    for name, (function, rule) in rules.items():
        packet = getattr(ops, name, None)
        if packet is not None:
            register(packet.default, moves=True, bounds=rule, either_side=True)(function)


with contextlib.suppress(ImportError):  # an older or newer ExecuTorch may not have these operators
    importlib.import_module("executorch.exir.passes.dim_order_ops_registry")
_register_dim_order()
