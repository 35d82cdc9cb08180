"""Division of integers as torch divides them, in operators that ExecuTorch's kernels compute right.

ggml has no integers, so their division stays with ExecuTorch 1.5. Its kernels differ from torch:

- `div` that rounds down is exact.
- `remainder` takes the sign of the dividend.
- `fmod`, and `div` that rounds towards zero, go through float64, which is wrong beyond 2^53.
- The smallest integer divided by -1 ends the process.

A remainder of floats by a number becomes one by a tensor, which ExecuTorch rounds as torch does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot.integer_bounds import IntegerBounds

from ._graph import GraphEditor, args_of, argument, aten, is_tensor, nodes_of, value

_DIVISIONS = (
    aten.div.Tensor_mode,
    aten.div.Scalar_mode,
    aten.floor_divide.default,
    aten.floor_divide.Scalar,
)
_REMAINDERS = (aten.remainder.Tensor, aten.remainder.Scalar, aten.remainder.Scalar_Tensor)
_FMODS = (aten.fmod.Tensor, aten.fmod.Scalar)
_WIDE = (torch.int32, torch.int64)


def divide_integers(ep: ExportedProgram) -> bool:
    """Replace, in place, divisions of integers that ExecuTorch would compute wrong; True if there was one."""
    editor = GraphEditor(ep)
    bounds = IntegerBounds(editor)
    for node in nodes_of(editor.graph, *_DIVISIONS, *_REMAINDERS, *_FMODS):
        dtype = value(node).dtype
        if dtype.is_floating_point:
            _remainder_by_tensor(editor, node)
        if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
            continue
        found = _Division(editor, bounds, node).result()
        if found is not None:
            editor.replace(node, found)
    return editor.finish()


def _remainder_by_tensor(editor: GraphEditor, node: Node) -> None:
    """A remainder, or a quotient rounded down, by a number as one by a tensor of the type of the result.

    torch rounds the number to that type first, ExecuTorch computes with it in float64; and it has no kernel for a
    number divided by a tensor.
    """
    operands = args_of(node)[:2]
    floors = node.target in _DIVISIONS and argument(node, 2, "rounding_mode", "floor") == "floor"
    if node.target in _DIVISIONS and not floors:
        return
    numbers = [x for x in operands if not is_tensor(x)]
    if not numbers or not all(isinstance(x, (int, float)) for x in numbers):
        return
    dtype = value(node).dtype
    # A divisor that is a number keeps its digits.
    exact = torch.float32 if floors and dtype.itemsize == 2 and is_tensor(operands[0]) else dtype
    tensors = []
    for x in operands:
        x = x if is_tensor(x) else _number(editor, node, x, exact)
        tensors.append(x if value(x).dtype is exact else editor.call(node, aten._to_copy.default, x, dtype=exact))
    if floors:
        found = editor.call(node, aten.div.Tensor_mode, *tensors, rounding_mode="floor")
        editor.replace(node, found if exact is dtype else editor.call(node, aten._to_copy.default, found, dtype=dtype))
        return
    target = aten.fmod.Tensor if node.target in _FMODS else aten.remainder.Tensor
    editor.replace(node, editor.call(node, target, *tensors))


def _number(editor: GraphEditor, node: Node, number: Any, dtype: torch.dtype) -> Node:
    return editor.add_constant(torch.tensor(number, dtype=dtype), f"of_{node.name}")


class _Division:
    def __init__(self, editor: GraphEditor, bounds: IntegerBounds, node: Node) -> None:
        self.editor, self.bounds, self.node = editor, bounds, node
        self.dtype = value(node).dtype

    def result(self) -> Node | None:
        left, right = args_of(self.node)[:2]
        mode = argument(self.node, 2, "rounding_mode", "floor" if self.node.target not in _FMODS else "trunc")
        if self.node.target in _DIVISIONS:
            plain = not self._may_overflow(right) if mode == "floor" else self.dtype is not torch.int64
            if plain and mode is not None and not value(self.node).dim() and not is_tensor(right):
                # ExecuTorch makes the number an int64 tensor, and two scalars of tensors an int64 result.
                return self._call(aten.div.Tensor_mode, left, self._operand(right), rounding_mode=mode)
            if plain:
                return None
        elif self._is_plain(left, right):
            return None
        a, b = self._operand(left), self._operand(right)
        floor = self._floor(a, b)
        if self.node.target in _DIVISIONS and mode == "floor":
            return floor
        rest = self._call(aten.sub.Tensor, a, self._call(aten.mul.Tensor, floor, b))
        if mode == "floor":
            return rest
        # Rounded down a quotient is negative where the signs differ: there one more, unless nothing is left.
        up = self._call(
            aten.logical_and.default, self._call(aten.ne.Scalar, rest, 0), self._call(aten.lt.Scalar, floor, 0)
        )
        if self.node.target in _DIVISIONS:
            return self._call(aten.where.self, up, self._call(aten.add.Tensor, floor, self._number(1)), floor)
        return self._call(aten.where.self, up, self._call(aten.sub.Tensor, rest, b), rest)

    def _is_plain(self, left: Any, right: Any) -> bool:
        """Whether a remainder is that of C: of a number that is not negative, by a positive one."""
        limits, divisor = self.bounds.of(left), self.bounds.of(right)
        if limits is None or divisor is None or limits[0] < 0 or divisor[0] <= 0 or not is_tensor(left):
            return False
        return limits[1] < 1 << 53

    def _may_overflow(self, divisor: Any) -> bool:
        if self.dtype not in _WIDE:
            return False
        limits = self.bounds.of(divisor)
        return limits is None or limits[0] <= -1 <= limits[1]

    def _floor(self, a: Node, b: Node) -> Node:
        if not self._may_overflow(b):
            return self._call(aten.div.Tensor_mode, a, b, rounding_mode="floor")
        turned = self._call(aten.eq.Scalar, b, -1)
        safe = self._call(aten.where.self, turned, self._number(1), b)
        quotient = self._call(aten.div.Tensor_mode, a, safe, rounding_mode="floor")
        return self._call(aten.where.self, turned, self._call(aten.neg.default, a), quotient)

    def _operand(self, item: Any) -> Node:
        if is_tensor(item):
            return (
                item if value(item).dtype is self.dtype else self._call(aten._to_copy.default, item, dtype=self.dtype)
            )
        if isinstance(item, Node):  # a dynamic size
            return self._call(aten.scalar_tensor.default, item, dtype=self.dtype)
        return self._number(item)

    def _number(self, number: int) -> Node:
        return self.editor.add_constant(torch.tensor(number).to(self.dtype), f"of_{self.node.name}")

    def _call(self, target: Any, *args: Any, **kwargs: Any) -> Node:
        return self.editor.call(self.node, target, *args, **kwargs)
