"""RMSNorm written out in elementary operators, as `aten.rms_norm`.

    x * rsqrt(mean(x ** 2, -1, keepdim=True) + eps)        or      x / sqrt(mean(x * x, ...) + eps)

becomes ``rms_norm(x, [D], None, eps)``, and a following product with a weight of shape [D] joins it. The norm stays in
the type it was computed in: casts around it are not touched.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import (
    GraphEditor,
    args_of,
    argument,
    aten,
    dim_index,
    is_call,
    is_tensor,
    nodes_of,
    operands,
    same_shape,
    shape,
    value,
)


def _squared(node: object) -> Node | None:
    """x, if the node is x * x in any spelling."""
    squared = (
        is_call(node, aten.square.default)
        or (is_call(node, aten.pow.Tensor_Scalar) and args_of(node)[1] == 2)
        or (is_call(node, aten.mul.Tensor) and args_of(node)[0] is args_of(node)[1])
    )
    base = args_of(node)[0] if squared and isinstance(node, Node) else None
    return base if is_tensor(base) else None


def _mean_square(editor: GraphEditor, node: object) -> tuple[Node, float] | None:
    """(x, eps), if the node is mean(x ** 2 over the last dimension, kept) + eps."""
    if not is_call(node, aten.add.Tensor, aten.add.Scalar):
        return None
    if argument(node, 2, "alpha", 1) != 1:
        return None
    for mean, number in operands(node):
        eps = editor.scalar(number)
        if eps is None or eps <= 0.0 or not is_call(mean, aten.mean.dim):
            continue
        x = _squared(args_of(mean)[0])
        if x is None or not argument(mean, 2, "keepdim", False):
            continue
        # A mean computed in another type than x's is a different sum.
        if value(mean).dtype != value(x).dtype or value(node).dtype != value(x).dtype:
            continue
        dims = argument(mean, 1, "dim")
        rank = len(shape(x))
        if isinstance(dims, (list, tuple)) and [dim_index(int(d), rank) for d in dims] == [rank - 1]:
            return x, eps
    return None


def _under_root(node: object) -> object:
    """y, if the node is y ** -0.5 in any spelling."""
    if is_call(node, aten.rsqrt.default) or (is_call(node, aten.pow.Tensor_Scalar) and args_of(node)[1] == -0.5):
        return args_of(node)[0]
    if is_call(node, aten.reciprocal.default) and is_call(args_of(node)[0], aten.sqrt.default):
        return args_of(node)[0].args[0]
    return None


def _match(editor: GraphEditor, node: Node) -> tuple[Node, float] | None:
    """(x, eps), if the node is the normalised x."""
    if is_call(node, aten.mul.Tensor):
        for x, scale in operands(node):
            found = _mean_square(editor, _under_root(scale))
            if found is not None and found[0] is x:
                return found
    if is_call(node, aten.div.Tensor) and argument(node, 2, "rounding_mode") is None:
        root = args_of(node)[1]
        if is_call(root, aten.sqrt.default):
            found = _mean_square(editor, args_of(root)[0])
            if found is not None and found[0] is args_of(node)[0]:
                return found
    return None


def fuse_rms_norm(ep: ExportedProgram) -> bool:
    """Rewrite every RMSNorm of `ep` in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, aten.mul.Tensor, aten.div.Tensor):
        found = _match(editor, node)
        if found is None:
            continue
        x, eps = found
        size = shape(x)[-1] if shape(x) else None
        if not isinstance(size, int):
            continue
        target, weight = node, None
        users = list(node.users)
        if len(users) == 1 and is_call(users[0], aten.mul.Tensor):
            for left, right in operands(users[0]):
                if (
                    left is node
                    and is_tensor(right)
                    and same_shape(shape(right), (size,))
                    and value(right).dtype == value(node).dtype
                ):
                    target, weight = users[0], right
        fused = editor.call(target, aten.rms_norm.default, x, [size], weight, eps)
        editor.replace(target, fused)
    return editor.finish()
