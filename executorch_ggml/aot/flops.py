"""Floating-point operations of one node, counted from its shapes, to weigh what is delegated against what is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from . import custom_ops, custom_ops_recurrent
from .node_view import overload_of
from .registry import lookup

Shape = tuple[int, ...]
_aten = torch.ops.aten
assert custom_ops  # importing them defines the operators named below
assert custom_ops_recurrent


def count(node: Node) -> int:
    """FLOPs of a call node (ATen or edge dialect) at the example sizes; a multiply-add is two.

    Products, convolutions, attention and recurrent layers are counted in full, other arithmetic as one operation for
    each element of the result, and what only moves or renames data as none.
    """
    target = overload_of(node.target)
    out = _shape(node)
    if out is None:
        return 0
    rule = _RULES.get(getattr(target, "overloadpacket", None))
    if rule is not None:
        return int(rule(node, out))
    entry = lookup(node.target)
    return 0 if _moves(target) or (entry is not None and entry.trivial) else math.prod(out)


def _shape(value: Any) -> Shape | None:
    """The (first) result's shape at the example sizes; None for what is not a tensor."""
    val = value.meta.get("val") if isinstance(value, Node) else value
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    if not isinstance(val, torch.Tensor):
        return None
    return tuple(_int(d) for d in val.shape)


def _int(d: Any) -> int:
    hint = d if isinstance(d, int) else getattr(getattr(d, "node", None), "hint", None)
    return int(hint) if hint is not None else 1


def _moves(target: Any) -> bool:
    name = getattr(getattr(target, "overloadpacket", None), "__name__", "")
    return name.endswith("_copy") or name in _MOVES


_MOVES = {
    "clone",
    "cat",
    "embedding",
    "arange",
    "full",
    "index",
    "index_select",
    "repeat",
    "alias",
    "getitem",
    "gather",
}


def _linear(node: Node, out: Shape) -> int:
    """Any product whose last-but-one operand's last dimension is summed over."""
    x = _shape(node.args[0]) or (1,)
    return 2 * math.prod(out) * x[-1]


def _addmm(node: Node, out: Shape) -> int:
    x = _shape(node.args[1]) or (1,)
    return 2 * math.prod(out) * x[-1]


def _conv(node: Node, out: Shape) -> int:
    """Each result is a sum over the kernel and the input channels of its group (transposed: each input spreads so)."""
    x, weight = _shape(node.args[0]) or (1,), _shape(node.args[1]) or (1,)
    name = str(overload_of(node.target))
    transposed = "transpose" in name or (name.startswith("aten.convolution.") and bool(node.args[6]))
    return 2 * math.prod(x if transposed else out) * math.prod(weight[1:])


def _attention(node: Node, out: Shape) -> int:
    """Scores and their weighted sum; q [..., T, D] (or [B, T, H, D] for the cached form), k [..., S, D]."""
    q, k = _shape(node.args[0]) or (1,), _shape(node.args[1]) or (1,)
    cached = "causal_attention" in str(overload_of(node.target))
    return 2 * k[1 if cached else -2] * (math.prod(q) + math.prod(out))


def _recurrent(node: Node, out: Shape) -> int:
    """One product per step with each weight matrix; out is [T, N, H] or [N, T, H]."""
    weights: Any = next((a for a in node.args if isinstance(a, (list, tuple)) and len(a) >= 4), ())
    matrices = [s for s in map(_shape, weights) if s is not None and len(s) == 2]
    return 2 * math.prod(out[:-1]) * sum(map(math.prod, matrices))


def _steps(node: Node, out: Shape) -> int:
    """The steps of a recurrent layer, whose inputs are a product of their own; out is [T, B, H]."""
    return 2 * math.prod(out[:-1]) * math.prod(_shape(node.args[1]) or (1,))


def _experts(node: Node, out: Shape) -> int:
    weights = _shape(node.args[0]) or (1,)
    return 2 * math.prod(out) * weights[-1]


_RULES: dict[Any, Callable[[Node, Shape], int]] = {
    **dict.fromkeys((_aten.linear, _aten.mm, _aten.bmm, _aten.matmul), _linear),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm), _addmm),
    **dict.fromkeys(
        (
            _aten.convolution,
            _aten.conv1d,
            _aten.conv2d,
            _aten.conv3d,
            _aten.conv_transpose1d,
            _aten.conv_transpose2d,
            _aten.conv_transpose3d,
        ),
        _conv,
    ),
    **dict.fromkeys((_aten.lstm, _aten.gru, _aten.rnn_tanh, _aten.rnn_relu), _recurrent),
    _aten.scaled_dot_product_attention: _attention,
    torch.ops.executorch_ggml.causal_attention: _attention,
    torch.ops.executorch_ggml.mul_mat_id: _experts,
    torch.ops.executorch_ggml.recurrent_layer: _steps,
}
