"""Removes nodes that change nothing: casts to the same type, layouts that cancel, arithmetic with 0 and 1."""

from __future__ import annotations

from collections.abc import Callable

from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot.node_view import is_empty

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_call, is_tensor, same_shape, shape, value

_VIEWS = (aten.view.default, aten._unsafe_view.default)
_CASTS = (aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.type_as.default)
_RESHAPES = (aten.reshape.default, aten.unsqueeze.default, aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims)
_COPIES = (aten.clone.default, aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default)


def _source(node: Node) -> Node | None:
    source = args_of(node)[0] if node.args else None
    return source if isinstance(source, Node) and is_tensor(source) and is_tensor(node) else None


def _no_op(editor: GraphEditor, node: Node) -> Node | None:
    """The argument that the node merely repeats, if it does."""
    source = _source(node)
    if source is None:
        return None
    same_type = value(node).dtype == value(source).dtype and value(node).device == value(source).device
    same_size = same_shape(shape(node), shape(source))
    if node.target in _CASTS or node.target in _COPIES:
        # torch copies to another stride order here; the graph's meaning is the elements, which do not change.
        return source if same_type and same_size else None
    if is_call(
        node,
        aten.reshape.default,
        aten.expand.default,
        aten.slice.Tensor,
        aten.squeeze.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.dropout.default,
    ):
        if node.target == aten.slice.Tensor and argument(node, 4, "step", 1) != 1:
            return None
        if node.target == aten.dropout.default and argument(node, 2, "train", True):
            return None
        return source if same_type and same_size else None
    if is_call(node, aten.permute.default):
        rank = len(shape(node))
        axes = [dim_index(axis, rank) for axis in argument(node, 1, "dims")]
        return source if axes == list(range(rank)) else None
    if is_call(node, aten.transpose.int):
        rank = len(shape(node))
        return source if dim_index(args_of(node)[1], rank) == dim_index(args_of(node)[2], rank) else None
    if is_call(node, aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar):
        # A float zero is left where it is: -0.0 + 0.0 is 0.0, which a sign-reading operator could notice.
        adds_zero = not value(node).dtype.is_floating_point and editor.scalar(args_of(node)[1]) == 0.0
        return source if adds_zero and same_type and same_size else None
    if is_call(node, aten.mul.Tensor, aten.mul.Scalar, aten.div.Tensor, aten.div.Scalar):
        if argument(node, 2, "rounding_mode") is not None:
            return None
        return source if editor.scalar(args_of(node)[1]) == 1.0 and same_type and same_size else None
    return None


def _copied(node: Node) -> Node | None:
    """copy(destination, source) is the source where neither shape nor type changes."""
    if not is_call(node, aten.copy.default):
        return None
    source = args_of(node)[1]
    if not isinstance(source, Node) or not is_tensor(source):
        return None
    equal = value(node).dtype == value(source).dtype and same_shape(shape(node), shape(source))
    return source if equal else None


def _cancelled(editor: GraphEditor, node: Node) -> Node | None:
    """Two layout changes in a row as one, or as none."""
    source = _source(node)
    if source is None or not isinstance(args_of(source)[0] if source.args else None, Node):
        return None
    inner = args_of(source)[0]
    if is_call(node, aten.transpose.int) and is_call(source, aten.transpose.int):
        rank = len(shape(node))
        outer_dims = {dim_index(int(d), rank) for d in args_of(node)[1:3]}
        inner_dims = {dim_index(int(d), rank) for d in args_of(source)[1:3]}
        return inner if outer_dims == inner_dims else None
    if is_call(node, aten.reshape.default) and is_call(source, *_RESHAPES):
        return editor.call(node, aten.reshape.default, inner, args_of(node)[1])
    if is_call(node, aten.squeeze.dims, aten.squeeze.dim) and is_call(source, aten.unsqueeze.default):
        return inner if same_shape(shape(node), shape(inner)) else None
    return None


def _without_empty_parts(editor: GraphEditor, node: Node) -> Node | None:
    """cat without its parts of size zero."""
    if not is_call(node, aten.cat.default):
        return None
    parts = args_of(node)[0]
    assert isinstance(parts, (list, tuple))
    if not all(isinstance(p, Node) and is_tensor(p) for p in parts):
        return None
    dim = dim_index(argument(node, 1, "dim", 0), len(shape(node)))
    # The old form of an empty part, `torch.zeros(0)`, goes with tensors of any rank.
    kept = [p for p in parts if isinstance(p, Node) and not is_empty(value(p))]
    if len(kept) == len(parts) or not kept or any(value(p).dtype != value(node).dtype for p in kept):
        return None
    return kept[0] if len(kept) == 1 else editor.call(node, aten.cat.default, kept, dim)


def simplify(ep: ExportedProgram) -> bool:
    """Remove, in place, everything that only repeats its argument; True if there was something.

    `view` becomes `reshape`, because a view insists on strides and the passes change them. Later decompositions turn a
    reshape back into a view, with a copy only where one is needed. Nodes that are outputs of the program stay. An
    output that mutates a buffer must be a node of its own, and one that returns an input must be a copy.
    """
    editor = GraphEditor(ep)
    rules: tuple[Callable[[Node], Node | None], ...] = (
        lambda node: _no_op(editor, node),
        _copied,
        lambda node: _cancelled(editor, node),
        lambda node: _without_empty_parts(editor, node),
    )
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or not node.users:
            continue
        if node.target in _VIEWS:
            node.target = aten.reshape.default
            editor.changed = True
        for rule in rules:
            replacement = rule(node)
            if replacement is not None:
                users = [user for user in node.users if user.op != "output"]
                for user in users:
                    user.replace_input_with(node, replacement)
                editor.changed = editor.changed or bool(users)
                break
    return editor.finish()
