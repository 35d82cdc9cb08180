"""The sign of a zero among an operator's numbers reaches the program file.

FlatBuffers leaves out a number that equals its default, and -0.0 equals 0.0. ExecuTorch and our payloads would read
0.0, so that `pow(-0.0, x)` has the wrong sign for odd x.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.export import ExportedProgram

from ._graph import GraphEditor, argument, aten, nodes_of, value

# The position and the name of the number.
_FILLS = {
    aten.full.default: (1, "fill_value"),
    aten.full_like.default: (1, "fill_value"),
    aten.new_full.default: (2, "fill_value"),
    aten.scalar_tensor.default: (0, "s"),
    aten.fill.Scalar: (1, "value"),
}


def is_negative_zero(number: Any) -> bool:
    """Whether a number is -0.0, which compares equal to 0.0."""
    return isinstance(number, float) and number == 0.0 and math.copysign(1.0, number) < 0.0


def keep_negative_zeros(ep: ExportedProgram) -> bool:
    """Writes bases and filled tensors of -0.0 without that number, in place; True if there was one."""
    editor = GraphEditor(ep)
    for node in nodes_of(ep.graph, aten.pow.Scalar):
        if is_negative_zero(node.args[0]) and value(node).dtype.is_floating_point:
            base = editor.add_constant(torch.tensor(-0.0, dtype=value(node).dtype), "negative_zero")
            editor.replace(node, editor.call(node, aten.pow.Tensor_Tensor, base, node.args[1]))
    for node in nodes_of(ep.graph, *_FILLS):
        place, name = _FILLS[node.target]  # type: ignore[index]
        if not is_negative_zero(argument(node, place, name)) or not value(node).dtype.is_floating_point:
            continue
        args = tuple(0.0 if i == place else x for i, x in enumerate(node.args))
        kwargs = {key: 0.0 if key == name else x for key, x in node.kwargs.items()}
        assert callable(node.target)
        editor.replace(node, editor.call(node, aten.neg.default, editor.call(node, node.target, *args, **kwargs)))
    return editor.finish()
