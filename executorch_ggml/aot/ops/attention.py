"""Attention: over a cache (`causal_attention`) and in torch's general form (`scaled_dot_product_attention`).

Both become ggml's fused attention. Its result already has the order [B, T, H, D] that the next projection reads. With
an additive mask in float32 attention is two products around a softmax: the fused form would round the mask to float16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from executorch_ggml.aot import custom_ops
from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Arg, Builder, Case, NodeView, Unsupported, Value, register
from executorch_ggml.ir.builder import BinaryKind, DType, GgmlType, HiddenKeys, Kind, UnaryKind
from executorch_ggml.ir.dims import Dim, product, same, same_shape
from executorch_ggml.ir.value import contiguous_strides, fold

from ._fp16 import as_stored

# Far below every score, and -inf once it is rounded to float16; a product with -inf itself would turn 0 into NaN.
_HIDDEN = -1e30


# -------------------------------------------------------------------------------------------------- over a cache


def _causal_cases() -> list[Case]:
    def run(window: int, softcap: float = 0.0) -> Callable[..., Any]:
        def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, positions: torch.Tensor) -> Any:
            return custom_ops.causal_attention(q, k, v, positions, 0.3, window, softcap)

        return attend

    tensors = [(1, 5, 4, 8), (1, 16, 2, 8), (1, 16, 2, 8), Arg((5,), torch.int64, 0, 15)]
    dynamic: list[Mapping[int, tuple[str, int, int]]] = [{1: ("t", 1, 9)}, {}, {}, {0: ("t", 1, 9)}]
    return [
        Case(run(0), tensors, dynamic=dynamic, name="whole"),
        Case(run(3), tensors, name="window"),
        Case(run(0, 5.0), tensors, name="softcap"),
        Case(run(0), [(2, 3, 4, 8), (2, 16, 4, 8), (2, 16, 4, 6), Arg((3,), torch.int64, 0, 15)], name="batch"),
    ]


@register(torch.ops.executorch_ggml.causal_attention.default, flops=flops.attention, cases=_causal_cases)
def causal_attention(b: Builder, n: NodeView) -> Value:
    """q [B, T, H, D], caches [B, S, Hkv, D], positions [T] -> [B, T, H, Dv].

    Only the filled rows of the cache are read: how many is a dimension that the runtime computes from the positions.
    """
    n.require_float()
    q, k, v, positions = (n.tensor(name) for name in ("q", "k", "v", "positions"))
    window, rows = n.integer("window"), k.shape[1]
    given, first = _input_of(b, positions)
    if given is not None and isinstance(rows, int):
        filled: Dim = b.symbol_from_max(given, add=1, round_to=0, minimum=1, maximum=rows)
        # Queries that are a range of the positions (the last one, say) take their rows of the mask for all of them.
        mask = b.slice(b.causal_mask(given, filled, window), 0, first, positions.shape[0])
    else:
        filled, mask = rows, _constant_mask(b, positions, rows, window)
    k, v = (b.transpose(b.slice(cache, 1, 0, filled), 1, 2) for cache in (k, v))
    return b.flash_attn(b.transpose(q, 1, 2), k, v, mask, scale=n.number("scale"), softcap=n.number("softcap"))


def _input_of(b: Builder, positions: Value) -> tuple[Value | None, Dim]:
    """The integer input that positions are a range of, and where in it they start; (None, 0) for anything else."""
    if positions.kind is Kind.INPUT:
        return positions, 0
    first: Dim = 0
    node = b.graph.nodes[positions.node] if positions.kind is Kind.NODE else None
    if node is not None and node.op == "View":
        first, node = node.attrs["offset"], b.graph.nodes[node.src[0]]
    if node is None or node.op != "InputLeaf" or node.attrs["mask"]:
        return None, 0
    ref = node.attrs["input"]
    declared = b.graph.inputs[ref]
    if len(declared.shape) != 1 or not declared.dtype.is_integer:
        return None, 0
    ne = fold(declared.shape)
    return Value(Kind.INPUT, declared.shape, declared.dtype, GgmlType.ANY, ne, contiguous_strides(ne), ref=ref), first


def _constant_mask(b: Builder, positions: Value, rows: Dim, window: int) -> Value:
    """The mask [T, S] of positions that are constants of the program."""
    data = b.data_of(positions)
    if data is None or not isinstance(rows, int):
        raise Unsupported("attention needs its positions as an integer input, or a cache of known length")
    distance = data.reshape(-1, 1).astype(np.int64) - np.arange(rows)
    visible = (distance >= 0) & ((distance < window) if window else True)
    return b.constant(np.where(visible, 0.0, -np.inf), DType.FLOAT16, GgmlType.F16)


# -------------------------------------------------------------------------------------------------- general form


def _sdpa_cases() -> list[Case]:
    attend = torch.nn.functional.scaled_dot_product_attention

    def causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        return attend(q, k, v, is_causal=True)

    def scaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        return attend(q, k, v, scale=0.7)

    def grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        return attend(q, k, v, enable_gqa=True)

    def grouped_biased(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> Any:
        return attend(q, k, v, m, enable_gqa=True)

    def masked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, m: torch.Tensor) -> Any:
        return attend(q, k, v, m)

    def merged(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> Any:
        return attend(q, k, v).transpose(1, 2).reshape(2, 5, 12)

    q, k = (2, 3, 5, 4), (2, 3, 7, 4)
    t, s = ("t", 1, 9), ("s", 1, 9)
    visible = Arg((5, 7), torch.bool)
    return [
        Case(attend, [q, k, k], dynamic=({2: t}, {2: s}, {2: s}), name="plain"),
        Case(attend, [q, k, (2, 3, 7, 6)], name="other_value_size"),
        Case(attend, [(2, 5, 4), (2, 7, 4), (2, 7, 4)], name="rank_3"),
        Case(attend, [(5, 4), (7, 4), (7, 4)], name="rank_2"),
        Case(attend, [(2, 2, 3, 5, 4), (2, 2, 3, 7, 4), (2, 2, 3, 7, 4)], name="rank_5"),
        Case(scaled, [q, k, k], name="scale"),
        Case(causal, [q, q, q], dynamic=({2: t}, {2: t}, {2: t}), name="causal"),
        Case(causal, [q, k, k], name="causal_more_keys"),
        Case(causal, [k, q, q], name="causal_fewer_keys"),
        Case(grouped, [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8)], name="grouped"),
        Case(grouped_biased, [(2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), (5, 7)], name="grouped_bias"),
        Case(masked, [q, k, k, visible], name="bool_mask"),
        Case(masked, [q, k, k, Arg((2, 1, 1, 7), torch.bool)], name="bool_mask_of_keys"),
        Case(masked, [q, k, k, Arg((2, 3, 5, 7), torch.bool)], name="bool_mask_per_head"),
        Case(masked, [q, k, k, (5, 7)], name="bias"),
        Case(masked, [q, k, k, (1, 3, 5, 7)], name="bias_per_head"),
        Case(masked, [q, k, k, (2, 1, 1, 7)], name="bias_per_batch"),
        Case(masked, [q, k, k, (1, 7)], name="bias_of_keys"),
        Case(merged, [q, k, k], name="heads_merged"),
    ]


@register(torch.ops.aten.scaled_dot_product_attention.default, keep=True, flops=flops.attention, cases=_sdpa_cases)
def scaled_dot_product_attention(b: Builder, n: NodeView) -> Value:
    """query [..., T, D], key [..., S, D], value [..., S, Dv] -> [..., T, Dv]."""
    n.require_float()
    if n.number("dropout_p") != 0.0:
        raise Unsupported("attention with dropout")
    q, k, v = n.tensor("query"), n.tensor("key"), n.tensor("value")
    mask = n.opt_tensor("attn_mask")
    if mask is not None and mask.dtype.is_float:
        mask = as_stored(b, mask) if mask.kind is Kind.NODE else mask
    scale = n.opt_number("scale")
    # Rows of a state that the mask hides are those that nobody has written yet.
    hidden = HiddenKeys.PASSED if _is_state(b, k) and _is_state(b, v) else HiddenKeys.COUNTED
    if scale is None:
        if not isinstance(q.shape[-1], int):
            raise Unsupported("the head size is dynamic")
        scale = 1.0 / math.sqrt(q.shape[-1])
    out = n.out.shape
    # Operands that torch's fused kernel does not take are computed with all keys for every query, and scaled before the
    # product. Scores that are too large for F32 only before scaling are then finite.
    fused = len(out) == 4 and same(v.shape[-1], q.shape[-1]) and (mask is None or mask.rank in (2, 4))
    if not fused:
        shared = math.sqrt(abs(scale)) if abs(scale) > 1.0 else 1.0
        q, k, scale = b.scale(q, scale / shared), b.scale(k, shared), 1.0
    if q.rank > 4:
        if mask is not None and mask.rank > 2:
            raise Unsupported("a mask with leading dimensions for attention of more than 4 dimensions")
        q, k, v = (b.reshape(b.decided(x), (product(x.shape[:-3]), *x.shape[-3:])) for x in (q, k, v))
    q, k, v = (b.reshape(x, (1,) * (4 - x.rank) + x.shape) for x in (q, k, v))
    if mask is not None and len(out) < 4 and mask.rank == 3:
        mask = b.unsqueeze(mask, 0)
    grouped = n.flag("enable_gqa")
    if not grouped and not same(q.shape[1], k.shape[1]):
        raise Unsupported(f"{q.shape[1]} query heads for {k.shape[1]} key heads without enable_gqa")
    if n.flag("is_causal"):
        if mask is not None:
            raise Unsupported("is_causal together with a mask")
        mask = _top_left_mask(b, q.shape[2], k.shape[2])
        if fused and hidden is HiddenKeys.COUNTED:
            hidden = HiddenKeys.CAUSAL
    elif mask is not None and mask.dtype is DType.BOOL:
        mask = _bool_mask(b, mask, q.shape[2], k.shape[2])
    elif mask is not None:
        return b.reshape(_composed(b, q, k, v, mask, scale), out)
    result = b.flash_attn(q, k, v, mask, scale=scale, hidden=hidden)
    return b.reshape(b.transpose(result, 1, 2), out)


def _is_state(b: Builder, v: Value) -> bool:
    """Whether a value is a state, or a part of one."""
    node = b.graph.nodes[v.node] if v.kind is Kind.NODE else None
    while node is not None and node.op in ("View", "Permute", "Reshape", "Cont", "SetRows", "Cpy", "Repeat"):
        node = b.graph.nodes[node.src[1 if node.op == "Cpy" else 0]]
    return node is not None and node.op == "StateLeaf"


def _top_left_mask(b: Builder, queries: Dim, keys: Dim) -> Value:
    """torch's is_causal: query i sees keys 0..i, for all lengths. F16 [T, S], for dynamic lengths too."""
    row = b.reshape(b.cumsum(b.fill(1.0, (1, queries))), (queries, 1))
    column = b.cumsum(b.fill(1.0, (1, keys)))
    later = b.unary(UnaryKind.STEP, b.binary(BinaryKind.SUB, b.expand(column, (queries, keys)), row))
    return b.cast(b.scale(later, _HIDDEN), GgmlType.F16)


def _bool_mask(b: Builder, mask: Value, queries: Dim, keys: Dim) -> Value:
    """A boolean mask [.., T | 1, S | 1] as F16 with whole matrices."""
    if mask.kind is Kind.WEIGHT:
        data = b.data_of(mask)
        if data is None:
            raise Unsupported("a boolean mask without data")
        leaf = b.constant(np.where(data, 0.0, -np.inf), DType.FLOAT16, GgmlType.F16)
    elif mask.kind is Kind.NODE:
        leaf = b.mask(b.expand(mask, (*mask.shape[:-2], queries, keys)))
    else:
        leaf = b.mask(mask)
    if leaf.rank < 2:
        leaf = b.reshape(leaf, (1,) * (2 - leaf.rank) + leaf.shape)
    whole = (*leaf.shape[:-2], queries, keys)
    if same_shape(leaf.shape, whole):
        return leaf
    # ggml repeats float32 only.
    wide = b.expand(b.cast(leaf, GgmlType.F32), whole)
    return b.cast(wide, GgmlType.F16)


def _composed(b: Builder, q: Value, k: Value, v: Value, mask: Value, scale: float) -> Value:
    """softmax(q k^T * scale + mask) v, all in float32; the mask broadcasts to [B, H, T, S]."""
    k, v = (_per_query_head(b, x, q.shape[1]) for x in (k, v))
    scores = b.mul_mat(k, q)
    bias = b.f32(mask)
    bias = b.reshape(bias, (1,) * (4 - bias.rank) + bias.shape)
    # ggml's softmax repeats whole matrices of a mask, not their rows or columns.
    bias = b.expand(bias, (*bias.shape[:2], *scores.shape[2:]))
    weights = b.softmax(scores, bias, scale, empty_is_zero=True)
    return b.mul_mat(b.contiguous(b.transpose(b.f32(v), 2, 3)), weights)


def _per_query_head(b: Builder, x: Value, heads: Dim) -> Value:
    """[B, Hkv, S, D] with every head repeated for the query heads that share it."""
    if same(x.shape[1], heads):
        return b.f32(x)
    if not isinstance(heads, int) or not isinstance(x.shape[1], int) or heads % x.shape[1]:
        raise Unsupported(f"{heads} query heads cannot share {x.shape[1]} key heads")
    batch, shared, rows, size = x.shape
    wide = b.expand(b.unsqueeze(b.f32(x), 2), (batch, shared, heads // shared, rows, size))
    return b.reshape(wide, (batch, heads, rows, size))
