"""Computed float16 and bfloat16 values as torch has them. Registers no operator.

ggml computes float16 and bfloat16 in F32, and a result is rounded when it is stored. The digits in between show in
three kinds of results:

- a result of another type: a position, a boolean, a float32;
- a result that jumps: a rounding to whole numbers, a sign;
- a result near a pole: a logarithm or quotient of a number that is zero once it is rounded.

The operands of such an operator are rounded first. ``lower_nodes.lower_node`` does it for results of another type, and
the lowering of the operator for the rest.
"""

from __future__ import annotations

import torch

from executorch_ggml.ir.builder import Builder, DType, GgmlType, Kind, UnaryKind, Value
from executorch_ggml.ir.graph import Node
from executorch_ggml.ir.operators import ALL_SOURCES, operator

FP16_TYPES = {DType.FLOAT16: GgmlType.F16, DType.BFLOAT16: GgmlType.BF16}


_SIGNS = frozenset({UnaryKind.ABS, UnaryKind.NEG, UnaryKind.RELU})


def number_as_stored(number: float, dtype: DType) -> float:
    """A number beside float16 or bfloat16, as torch rounds those that are added, and exponents."""
    narrow = {DType.FLOAT16: torch.float16, DType.BFLOAT16: torch.bfloat16}.get(dtype)
    return number if narrow is None else float(torch.tensor(number, dtype=torch.float64).to(narrow))


def as_stored(b: Builder, v: Value) -> Value:
    """A float as F32, rounded to its torch dtype where the graph computed it."""
    narrow = FP16_TYPES.get(v.dtype)
    if narrow is None or v.kind is not Kind.NODE or _is_stored(b, v.node, v.dtype):
        return b.f32(v)
    return b.f32(b.cast(b.f32(v), narrow))


def _is_stored(b: Builder, index: int, dtype: DType) -> bool:
    """Whether a node has numbers of a 16-bit type unchanged: they only came from somewhere, or are rounded already."""
    waiting, seen = [index], set()
    while waiting:
        at = waiting.pop()
        node = b.graph.nodes[at]
        if at in seen or _is_narrow(b, node, dtype):
            continue
        moved = node.op != "Cast" and operator(node.op).moves == ALL_SOURCES
        if not moved and not (node.op == "Unary" and node.attrs["kind"] in _SIGNS):
            return False
        seen.add(at)
        waiting += node.src
    return True


def _is_narrow(b: Builder, node: Node, dtype: DType) -> bool:
    narrow = FP16_TYPES[dtype]
    if node.op == "Cast":
        return node.type is narrow or b.graph.nodes[node.src[0]].type is narrow
    if node.op == "InputLeaf":
        return b.graph.inputs[node.attrs["input"]].dtype is dtype
    return node.op == "WeightLeaf" and b.graph.weights[b.graph.slots[node.attrs["slot"]].weight].type is narrow
