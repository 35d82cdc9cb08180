"""Rules that count floating-point operations: an operator's registration names the one for it (``flops=``).

Each takes a node and the shape of its (first) result at the example sizes; a multiply-add is two.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.fx import Node

from .node_view import overload_of

Shape = tuple[int, ...]


def shape_of(value: Any) -> Shape | None:
    """The (first) result's shape at the example sizes; None for anything that is not a tensor."""
    val = value.meta.get("val") if isinstance(value, Node) else value
    if isinstance(val, (tuple, list)):
        val = val[0] if val else None
    if not isinstance(val, torch.Tensor):
        return None
    return tuple(_int(d) for d in val.shape)


def _int(d: Any) -> int:
    hint = d if isinstance(d, int) else getattr(getattr(d, "node", None), "hint", None)
    return int(hint) if hint is not None else 1


def nothing(node: Node, out: Shape) -> int:
    """It moves data."""
    return 0


def product(node: Node, out: Shape) -> int:
    """Any product that sums over the last dimension of its last-but-one operand."""
    x = shape_of(node.args[0]) or (1,)
    return 2 * math.prod(out) * x[-1]


def added_product(node: Node, out: Shape) -> int:
    x = shape_of(node.args[1]) or (1,)
    return 2 * math.prod(out) * x[-1]


def convolution(node: Node, out: Shape) -> int:
    """Each result is a sum over the kernel and the input channels of its group (transposed: each input spreads so)."""
    x, weight = shape_of(node.args[0]) or (1,), shape_of(node.args[1]) or (1,)
    name = str(overload_of(node.target))
    transposed = "transpose" in name or (name.startswith("aten.convolution.") and bool(node.args[6]))
    return 2 * math.prod(x if transposed else out) * math.prod(weight[1:])


def attention(node: Node, out: Shape) -> int:
    """Scores and their weighted sum; q [..., T, D] (or [B, T, H, D] for the cached form), k [..., S, D]."""
    q, k = shape_of(node.args[0]) or (1,), shape_of(node.args[1]) or (1,)
    cached = "causal_attention" in str(overload_of(node.target))
    return 2 * k[1 if cached else -2] * (math.prod(q) + math.prod(out))


def recurrent(node: Node, out: Shape) -> int:
    """One product per step with each weight matrix; out is [T, N, H] or [N, T, H]."""
    weights: Any = next((a for a in node.args if isinstance(a, (list, tuple)) and len(a) >= 4), ())
    matrices = [s for s in map(shape_of, weights) if s is not None and len(s) == 2]
    return 2 * math.prod(out[:-1]) * sum(map(math.prod, matrices))


def recurrent_steps(node: Node, out: Shape) -> int:
    """The steps of a recurrent layer, without the product of its inputs; out is [T, B, H]."""
    return 2 * math.prod(out[:-1]) * math.prod(shape_of(node.args[1]) or (1,))


def experts(node: Node, out: Shape) -> int:
    weights = shape_of(node.args[0]) or (1,)
    return 2 * math.prod(out) * weights[-1]
