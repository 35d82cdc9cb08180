"""Numbers beside a tensor without dimensions get its type, and those beside float64 keep their digits.

ExecuTorch makes tensors of the numbers in a program, int64 or float32. Beside a tensor with dimensions their type does
not count; beside one without, it decides the type of the result: an int32 counter plus 1 would be int64. Beside
float64, 0.1 would have the digits of float32. Its kernels for a tensor and a number refuse 0.5 beside integers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, aten, is_tensor, value

_TENSOR_FORM = {
    aten.add.Tensor: aten.add.Tensor,
    aten.add.Scalar: aten.add.Tensor,
    aten.sub.Tensor: aten.sub.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
    aten.mul.Tensor: aten.mul.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.div.Tensor: aten.div.Tensor,
    aten.div.Scalar: aten.div.Tensor,
}
_SCALAR_FORMS = (aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar)
_FLOAT64_FORM = {
    **_TENSOR_FORM,
    aten.rsub.Scalar: aten.sub.Tensor,
    aten.div.Tensor_mode: aten.div.Tensor_mode,
    aten.div.Scalar_mode: aten.div.Tensor_mode,
    aten.floor_divide.default: aten.floor_divide.default,
}
# Elementwise, though torch does not say so.
_UNTAGGED = (
    aten.floor_divide.default,
    aten.hardswish.default,
    aten.where.Scalar,
    aten.where.ScalarOther,
    aten.where.ScalarSelf,
)
_WIDE = (torch.int64, torch.float32, torch.float64, torch.bool)


def type_numbers(ep: ExportedProgram) -> bool:
    """Keeps the types of elementwise operations of tensors that all have no dimensions; in place.

    Numbers of sums, differences, products and quotients become tensors. Others, which decomposition may make such
    operations of, are computed with one dimension.
    """
    editor = GraphEditor(ep)
    for node in [n for n in ep.graph.nodes if n.op == "call_function"]:
        if not is_tensor(node):
            continue
        if node.target in _SCALAR_FORMS and is_tensor(node.args[0]) and value(node.args[0]).dtype != value(node).dtype:
            node.target = _TENSOR_FORM[node.target]
            editor.changed = True
        if value(node).dtype is torch.float64:
            _keep_digits(editor, node)
        if value(node).dim() or value(node).dtype in _WIDE:
            continue
        if node.target in _TENSOR_FORM:
            _write_as_tensor(editor, node)
        elif _may_hold_numbers(node):
            _with_a_dimension(editor, node)
    return editor.finish()


def _write_as_tensor(editor: GraphEditor, node: Node) -> None:
    tensor, number = node.args[:2]
    kind = value(node).dtype
    if not is_tensor(tensor) or not isinstance(number, (int, float)) or value(tensor).dtype is not kind:
        return
    typed = editor.call(node, aten.full.default, [], number, dtype=kind)
    target = _TENSOR_FORM[node.target]  # type: ignore[index]
    editor.replace(node, editor.call(node, target, tensor, typed, *node.args[2:], **node.kwargs))


def _keep_digits(editor: GraphEditor, node: Node) -> None:
    """Numbers beside float64 that float32 cannot hold, as tensors of float64."""
    if node.target in (aten.addcmul.default, aten.addcdiv.default):
        factor = node.kwargs.get("value", 1)
        if _is_float32(factor):
            return
        total, first, second = node.args[:3]
        scaled = editor.call(node, aten.mul.Tensor, _float64(editor, node, factor), first)
        last = aten.mul.Tensor if node.target is aten.addcmul.default else aten.div.Tensor
        editor.replace(node, editor.call(node, aten.add.Tensor, total, editor.call(node, last, scaled, second)))
        return
    target = _FLOAT64_FORM.get(node.target)  # type: ignore[call-overload]
    if target is None or all(_is_float32(x) for x in node.args[:2]):
        return
    first, second = (x if _is_float32(x) else _float64(editor, node, x) for x in node.args[:2])
    if node.target is aten.rsub.Scalar:
        alpha = node.args[2] if len(node.args) > 2 else node.kwargs.get("alpha", 1)
        found = editor.call(node, target, second, first, alpha=alpha)
    else:
        found = editor.call(node, target, first, second, *node.args[2:], **node.kwargs)
    editor.replace(node, found)


def _is_float32(x: Any) -> bool:
    """Whether an operand is no number, or one that float32 holds."""
    return not isinstance(x, float) or x != x or float(torch.tensor(x, dtype=torch.float32)) == x


def _float64(editor: GraphEditor, node: Node, number: Any) -> Node:
    return editor.call(node, aten.full.default, [], number, dtype=torch.float64)


def _may_hold_numbers(node: Node) -> bool:
    """Whether an elementwise operation has numbers, or may become several operations that have."""
    target = node.target
    tags = getattr(target, "tags", ())
    if target not in _UNTAGGED and torch.Tag.pointwise not in tags:
        return False
    return torch.Tag.core not in tags or any(isinstance(x, (int, float)) for x in (*node.args, *node.kwargs.values()))


def _with_a_dimension(editor: GraphEditor, node: Node) -> None:
    def longer(x: Any) -> Any:
        return editor.call(node, aten.reshape.default, x, [1]) if is_tensor(x) else x

    assert callable(node.target)
    args, kwargs = [longer(x) for x in node.args], {name: longer(x) for name, x in node.kwargs.items()}
    result = editor.call(node, node.target, *args, **kwargs)
    if value(result).dtype is value(node).dtype:
        editor.replace(node, editor.call(node, aten.reshape.default, result, []))
