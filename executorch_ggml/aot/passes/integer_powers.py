"""Powers and shifts of integers as products and quotients, which wrap around as torch's do.

ExecuTorch 1.5 computes a power of integers in float64, rounds integers as float32, and has no kernel for a shift.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot.integer_bounds import IntegerBounds
from executorch_ggml.errors import UnsupportedError

from ._graph import GraphEditor, args_of, aten, is_tensor, nodes_of, value

_LEFT = (aten.bitwise_left_shift.Tensor_Scalar, aten.__lshift__.Scalar)
_RIGHT = (aten.bitwise_right_shift.Tensor_Scalar, aten.__rshift__.Scalar)
_LEFT_BY = (aten.bitwise_left_shift.Tensor, aten.__lshift__.Tensor)
_RIGHT_BY = (aten.bitwise_right_shift.Tensor, aten.__rshift__.Tensor)
_ROUNDINGS = (aten.floor.default, aten.ceil.default, aten.trunc.default, aten.round.default)
_POWERS = (aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.pow.Scalar)
# Integers up to this are exact in float64.
_EXACT = 1 << 53


def expand_integer_powers(ep: ExportedProgram) -> bool:
    """Replace, in place, powers and shifts of integers; True if there was one.

    Raises:
        UnsupportedError: a power with an exponent that is not a number and may be large.
    """
    editor = GraphEditor(ep)
    bounds = IntegerBounds(editor)
    for node in nodes_of(editor.graph, *_LEFT, *_RIGHT, *_LEFT_BY, *_RIGHT_BY, *_POWERS, *_ROUNDINGS):
        dtype = value(node).dtype
        if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
            continue
        if node.target in _ROUNDINGS:
            editor.replace(node, editor.call(node, aten.clone.default, args_of(node)[0]))
            continue
        if node.target in (*_LEFT_BY, *_RIGHT_BY):
            found = _shift_by_tensor(editor, node)
        else:
            found = _power(editor, bounds, node) if node.target in _POWERS else _shift(editor, node)
        if found is not None:
            editor.replace(node, found)
    return editor.finish()


def _shift_by_tensor(editor: GraphEditor, node: Node) -> Node | None:
    """ExecuTorch's operator on distances that the processor takes; beyond them all bits leave, as torch has it."""
    x, by = args_of(node)[:2]
    dtype = value(node).dtype
    if not is_tensor(x) or not is_tensor(by) or not value(x).dtype == value(by).dtype == dtype:
        return None
    call = editor.call
    farthest = torch.iinfo(dtype).bits - 1
    inside = call(
        node,
        aten.logical_and.default,
        call(node, aten.ge.Scalar, by, 0),
        call(node, aten.le.Scalar, by, farthest),
    )
    limit = editor.add_constant(torch.tensor(farthest).to(dtype), f"most_of_{node.name}")
    near = call(node, aten.where.self, inside, by, limit)
    left = node.target in _LEFT_BY
    target = aten.bitwise_left_shift.Tensor if left else aten.bitwise_right_shift.Tensor
    shifted = call(node, target, x, near)
    if not left and dtype is not torch.uint8:  # only the sign remains
        return shifted
    return call(node, aten.where.self, inside, shifted, editor.add_constant(torch.zeros((), dtype=dtype), "nothing"))


def _shift(editor: GraphEditor, node: Node) -> Node | None:
    x, by = args_of(node)[:2]
    dtype = value(node).dtype
    if not is_tensor(x) or value(x).dtype is not dtype or not isinstance(by, int):
        return None
    bits = torch.iinfo(dtype).bits
    sign = 0 if dtype is torch.uint8 else 1
    left = node.target in _LEFT
    if not 0 <= by < bits - (0 if left else sign):
        return None
    # 2^(bits - 1) is the smallest number, and multiplying by it is the shift all the same.
    factor = editor.add_constant(torch.tensor(1 << by).to(dtype), f"of_{node.name}")
    if left:
        return editor.call(node, aten.mul.Tensor, x, factor)
    return editor.call(node, aten.div.Tensor_mode, x, factor, rounding_mode="floor")


def _power(editor: GraphEditor, bounds: IntegerBounds, node: Node) -> Node | None:
    base, exponent = args_of(node)[:2]
    if isinstance(exponent, int) and is_tensor(base):
        if exponent < 0:
            return None  # torch refuses it, and so does ExecuTorch
        return _product(editor, node, base, exponent)
    base_limits, limits = bounds.of(base), bounds.of(exponent)
    if base_limits is not None and limits is not None and limits[0] >= 0 and limits[1] < 64:
        most = max(abs(base_limits[0]), abs(base_limits[1])) ** limits[1]
        info = torch.iinfo(value(node).dtype)
        if most < min(_EXACT, info.max):
            return None
    raise UnsupportedError(
        f"{node.name}: a power of integers whose exponent is a tensor, with results that may exceed 2^53 or their "
        "type; ExecuTorch computes it in float64. Compute it from floats, or clamp base and exponent"
    )


def _product(editor: GraphEditor, node: Node, base: Node, exponent: int) -> Node:
    dtype = value(node).dtype
    if value(base).dtype is not dtype:
        base = editor.call(node, aten._to_copy.default, base, dtype=dtype)
    result: Node | None = None
    square: Any = base
    while exponent:
        if exponent & 1:
            result = square if result is None else editor.call(node, aten.mul.Tensor, result, square)
        exponent >>= 1
        if exponent:
            square = editor.call(node, aten.mul.Tensor, square, square)
    if result is None:
        return editor.call(node, aten.full_like.default, base, 1)
    return result if result is not base else editor.call(node, aten.clone.default, base)
