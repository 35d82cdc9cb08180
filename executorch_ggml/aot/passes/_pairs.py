"""Complex tensors as pairs of real numbers, for `complex_pairs` and `_fourier`."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from ._graph import GraphEditor, aten, is_tensor, value


class NotKnownError(Exception):
    """An operator on complex numbers that has no form in pairs here."""


def is_complex(item: object) -> bool:
    return is_tensor(item) and value(item).dtype.is_complex


class Pairs:
    """The pairs of each complex node of a program, made in front of it."""

    def __init__(self, editor: GraphEditor) -> None:
        self.editor = editor
        self.of: dict[Node, Node] = {}
        self.at: Node = editor.graph.output_node()

    def call(self, target: Any, *args: Any) -> Node:
        return self.editor.call(self.at, target, *args)

    def pair(self, item: Any) -> Node:
        """The pairs of a complex operand: a node, or a number."""
        if isinstance(item, complex):
            return self.editor.add_constant(torch.tensor([item.real, item.imag]), "pair")
        if item not in self.of:
            data = self.editor.constant(item)
            if data is None:
                raise NotKnownError(str(item))
            self.of[item] = self.editor.add_constant(torch.view_as_real(data.resolve_conj()), "pairs")
        return self.of[item]

    def parts(self, item: Any) -> tuple[Node, Node]:
        pair = self.pair(item)
        return self.call(aten.select.int, pair, -1, 0), self.call(aten.select.int, pair, -1, 1)

    def join(self, real: Node, imaginary: Node) -> Node:
        return self.call(aten.stack.default, [real, imaginary], -1)

    def wide(self, item: Any) -> Any:
        """A real operand that is to act on both numbers of a pair."""
        return self.call(aten.unsqueeze.default, item, -1) if isinstance(item, Node) else item
