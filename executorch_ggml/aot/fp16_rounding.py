"""Which float16 and bfloat16 results must be rounded as soon as they are computed.

ggml computes float16 and bfloat16 in F32, and rounds them where they leave a delegate. In most results the difference
is no more than one rounding. But it can turn a whole number, position or boolean into another. So every operand of such
a result, back to products and norms, is rounded operator by operator, as torch does. It ends at products and norms,
because the order of torch's sums is not known.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Graph, Node

from .node_view import overload_of

_META = "ggml_rounded"
_FP16_TYPES = (torch.float16, torch.bfloat16)

# Besides those with a result of another type.
_JUMPS = ("floor", "ceil", "trunc", "round", "sign", "frac", "fmod", "remainder", "floor_divide", "heaviside")
_ENDS = (
    *("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "mv", "dot", "addmv", "convolution"),
    *("layer_norm", "native_layer_norm", "group_norm", "native_group_norm", "rms_norm"),
    *("scaled_dot_product_attention", "_native_batch_norm_legit_no_training"),
)


def annotate(graph: Graph) -> None:
    """Marks the call nodes with float16 or bfloat16 values that decide about whole numbers, positions or booleans."""
    if not any(_has(n, _FP16_TYPES) for n in graph.nodes):
        return
    waiting = [source for n in graph.nodes if _jumps(n) for source in n.all_input_nodes]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node in seen or node.op != "call_function" or not any(t.dtype.is_floating_point for t in _results(node)):
            continue
        seen.add(node)
        if _has(node, _FP16_TYPES):
            node.meta[_META] = True
        if _name(node) not in _ENDS:
            waiting += node.all_input_nodes


def must_round(node: Node) -> bool:
    """Whether the result of a node is rounded at once."""
    return bool(node.meta.get(_META))


def _jumps(node: Node) -> bool:
    if node.op != "call_function" or not _results(node):
        return False
    name = _name(node)
    if name in _JUMPS or (name == "div" and len(node.args) + len(node.kwargs) > 2):
        return True
    kinds = {t.dtype.is_floating_point for source in node.all_input_nodes for t in _results(source)}
    return True in kinds and any(not t.dtype.is_floating_point for t in _results(node))


def _name(node: Node) -> str:
    """The name of an ATen operator, without its overload. Others have none."""
    schema = getattr(overload_of(node.target), "_schema", None)
    return schema.name.removeprefix("aten::") if schema is not None else ""


def _results(node: Node) -> list[torch.Tensor]:
    val: Any = node.meta.get("val")
    return [t for t in (val if isinstance(val, (tuple, list)) else [val]) if isinstance(t, torch.Tensor)]


def _has(node: Node, dtypes: tuple[torch.dtype, ...]) -> bool:
    return any(t.dtype in dtypes for t in _results(node))
