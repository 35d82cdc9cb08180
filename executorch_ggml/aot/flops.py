"""Floating-point operations of one node, counted from its shapes, to weigh delegated nodes against the others."""

from __future__ import annotations

import math
import operator

from torch.fx import Node

from .flop_rules import shape_of
from .registry import flops_rule, lookup, operator_name


def count(node: Node) -> int:
    """FLOPs of a call node (ATen or edge dialect) at the example sizes; a multiply-add is two.

    Products, convolutions, attention and recurrent layers are counted in full, other arithmetic as one operation for
    each element of the result. Operators that only move or rename data count as none.
    """
    out = shape_of(node)
    if out is None or node.target is operator.getitem:
        return 0
    rule = flops_rule(node.target)
    if rule is not None:
        return int(rule(node, out))
    entry = lookup(node.target)
    moves = entry.moves if entry is not None else operator_name(node.target).endswith("_copy")
    return 0 if moves else math.prod(out)
