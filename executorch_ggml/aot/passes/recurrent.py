"""Recurrent layers as a product and a loop, recurrent cells as products and gates.

ExecuTorch's decomposition unrolls a layer into some twenty nodes per step before anybody can refuse it: minutes for 480
steps. It also fixes a dynamic batch at the size of the example. Here a layer becomes one product of all inputs
and one operator that runs the steps. Where that operator cannot be delegated (float64, projected states), and for
cells, plain operators of ATen with the sizes of the program take its place.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot.custom_ops_recurrent import GATES, MAX_STEPS
from executorch_ggml.errors import UnsupportedError

from ._graph import GraphEditor, args_of, aten, is_call, is_delegable, is_tensor, nodes_of, shape, value

_LAYERS: dict[Any, str] = {
    aten.lstm.input: "lstm",
    aten.gru.input: "gru",
    aten.rnn_tanh.input: "tanh",
    aten.rnn_relu.input: "relu",
}
_CELLS: dict[Any, str] = {
    aten.lstm_cell.default: "lstm",
    aten.gru_cell.default: "gru",
    aten.rnn_tanh_cell.default: "tanh",
    aten.rnn_relu_cell.default: "relu",
}
_PACKED = (aten.lstm.data, aten.gru.data, aten.rnn_tanh.data, aten.rnn_relu.data)


@dataclass(frozen=True)
class _Weights:
    """Of one direction of one layer, or of a cell."""

    inputs: Node
    hidden: Node
    input_bias: Node | None = None
    hidden_bias: Node | None = None
    projection: Node | None = None


def expand_recurrent(ep: ExportedProgram) -> bool:
    """Replace, in place, recurrent layers and cells; True if there was one.

    Raises:
        UnsupportedError: a layer over a packed sequence.
    """
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, *_PACKED):
        raise UnsupportedError(
            f"{node.name} ({node.target}): a recurrent layer over a packed sequence, whose shapes depend on the "
            "lengths; give it the padded tensor"
        )
    for node in nodes_of(editor.graph, *_CELLS):
        _replace(editor, node, _cell(editor, node, _CELLS[node.target]))
    for node in nodes_of(editor.graph, *_LAYERS):
        results = _layers(editor, node, _LAYERS[node.target])
        if results is not None:
            _replace(editor, node, results)
    return editor.finish()


def _replace(editor: GraphEditor, node: Node, results: list[Node]) -> None:
    if is_tensor(node):
        editor.replace(node, results[0])
    for user in list(node.users):
        if is_call(user, operator.getitem):
            editor.replace(user, results[int(str(user.args[1]))])
            editor.graph.erase_node(user)
    # A layer might draw random numbers, as far as fx knows: it would not be taken for dead.
    editor.graph.erase_node(node)


def _cell(editor: GraphEditor, node: Node, cell: str) -> list[Node]:
    x, states, *weights = args_of(node)
    hidden, cell_state = states if cell == "lstm" else (states, None)
    w = _Weights(*weights)
    gates = _linear(editor, node, x, w.inputs, w.input_bias)
    return [s for s in _step(editor, node, cell, gates, hidden, cell_state, w) if s is not None]


def _layers(editor: GraphEditor, node: Node, cell: str) -> list[Node] | None:
    """Outputs and last states, as ATen's operator gives them; None if the node is left alone."""
    x, states, params, has_biases, count, dropout, train, both, batch_first = args_of(node)
    steps = shape(x)[1 if batch_first else 0]
    if (train and dropout) or not isinstance(steps, int) or steps < 1:
        return None  # dropout draws numbers; without steps there is nothing to run
    first = list(states) if cell == "lstm" else [states]
    directions = 2 if both else 1
    projected = len(params) // (count * directions) == (5 if has_biases else 3)
    weights = iter(_weights(params, has_biases, projected))
    if batch_first:
        x = editor.call(node, aten.transpose.int, x, 0, 1)
    last: list[list[Node]] = [[] for _ in first]
    for layer in range(count):
        outputs = []
        for direction in range(directions):
            before = [editor.call(node, aten.select.int, s, 0, layer * directions + direction) for s in first]
            run = _Run(editor, node, cell, next(weights), reverse=direction == 1)
            output, after = run.all_steps(x, before)
            outputs.append(output)
            for kept, state in zip(last, after, strict=True):
                kept.append(editor.call(node, aten.unsqueeze.default, state, 0))
        x = outputs[0] if directions == 1 else editor.call(node, aten.cat.default, outputs, 2)
    if batch_first:
        x = editor.call(node, aten.transpose.int, x, 0, 1)
    return [x, *(_joined(editor, node, s, 0) for s in last)]


def _weights(params: list[Node], has_biases: bool, projected: bool) -> Iterator[_Weights]:
    each = 2 + 2 * has_biases + projected
    for at in range(0, len(params), each):
        group = list(params[at : at + each])
        projection = group.pop() if projected else None
        biases = group[2:] if has_biases else [None, None]
        yield _Weights(group[0], group[1], biases[0], biases[1], projection)


def _joined(editor: GraphEditor, node: Node, parts: list[Node], dim: int) -> Node:
    return parts[0] if len(parts) == 1 else editor.call(node, aten.cat.default, parts, dim)


@dataclass(frozen=True)
class _Run:
    """One direction of one layer over all steps of x [T, B, I]."""

    editor: GraphEditor
    node: Node
    cell: str
    weights: _Weights
    reverse: bool

    def all_steps(self, x: Node, before: list[Node]) -> tuple[Node, list[Node]]:
        """Outputs [T, B, H] and the last states."""
        gates = _linear(self.editor, self.node, x, self.weights.inputs, self.weights.input_bias)
        steps = int(shape(gates)[0])
        # One step alone is two products, without a loop around them.
        looped = steps > 1 and self.weights.projection is None and is_delegable(gates) and self._alike(gates, before)
        return (self._looped if looped else self._unrolled)(gates, steps, before)

    def _alike(self, gates: Node, before: list[Node]) -> bool:
        operands = [self.weights.hidden, *before]
        static = all(isinstance(d, int) for d in shape(self.weights.hidden))
        return static and all(value(o).dtype == value(gates).dtype for o in operands)

    def _looped(self, gates: Node, steps: int, before: list[Node]) -> tuple[Node, list[Node]]:
        call = self.editor.call
        starts = list(range(0, steps, MAX_STEPS))
        outputs: list[Node] = []
        for start in reversed(starts) if self.reverse else starts:
            piece = gates
            if len(starts) > 1:
                piece = call(self.node, aten.slice.Tensor, gates, 0, start, min(steps, start + MAX_STEPS))
            both = call(
                self.node,
                torch.ops.executorch_ggml.recurrent_layer.default,
                piece,
                self.weights.hidden,
                self.weights.hidden_bias,
                before[0],
                before[1] if self.cell == "lstm" else None,
                self.cell,
                self.reverse,
            )
            output, last = (call(self.node, operator.getitem, both, i) for i in range(2))
            before = [last]
            if self.cell == "lstm":
                end = 0 if self.reverse else int(shape(output)[0]) - 1
                before = [call(self.node, aten.select.int, output, 0, end), last]
            outputs.append(output)
        return _joined(self.editor, self.node, outputs[::-1] if self.reverse else outputs, 0), before

    def _unrolled(self, gates: Node, steps: int, before: list[Node]) -> tuple[Node, list[Node]]:
        call = self.editor.call
        hidden, cell_state = before[0], before[1] if self.cell == "lstm" else None
        outputs = []
        for t in reversed(range(steps)) if self.reverse else range(steps):
            inputs = call(self.node, aten.select.int, gates, 0, t)
            hidden, cell_state = _step(self.editor, self.node, self.cell, inputs, hidden, cell_state, self.weights)
            outputs.append(call(self.node, aten.unsqueeze.default, hidden, 0))
        joined = _joined(self.editor, self.node, outputs[::-1] if self.reverse else outputs, 0)
        return joined, [s for s in (hidden, cell_state) if s is not None]


def _linear(editor: GraphEditor, node: Node, x: Node, weight: Node, bias: Node | None) -> Node:
    return editor.call(node, aten.linear.default, x, weight, bias)


def _step(
    editor: GraphEditor,
    node: Node,
    cell: str,
    inputs: Node,
    hidden: Node,
    cell_state: Node | None,
    weights: _Weights,
) -> tuple[Node, Node | None]:
    """The new states; inputs [B, G H] is the inputs' share of the gates."""

    def call(target: Any, *args: Any) -> Node:
        return editor.call(node, target, *args)

    units = int(shape(weights.hidden)[0]) // GATES[cell]

    def gate(source: Node, number: int) -> Node:
        return call(aten.slice.Tensor, source, 1, number * units, (number + 1) * units)

    own = _linear(editor, node, hidden, weights.hidden, weights.hidden_bias)
    if cell in ("tanh", "relu"):
        return call(getattr(aten, cell).default, call(aten.add.Tensor, inputs, own)), None
    if cell == "lstm":
        both = call(aten.add.Tensor, inputs, own)
        in_, keep, out = (call(aten.sigmoid.default, gate(both, i)) for i in (0, 1, 3))
        fresh = call(aten.mul.Tensor, in_, call(aten.tanh.default, gate(both, 2)))
        cell_state = call(aten.add.Tensor, call(aten.mul.Tensor, keep, cell_state), fresh)
        hidden = call(aten.mul.Tensor, out, call(aten.tanh.default, cell_state))
        if weights.projection is not None:
            hidden = _linear(editor, node, hidden, weights.projection, None)
        return hidden, cell_state
    reset, update = (call(aten.sigmoid.default, call(aten.add.Tensor, gate(inputs, i), gate(own, i))) for i in range(2))
    fresh = call(aten.add.Tensor, gate(inputs, 2), call(aten.mul.Tensor, reset, gate(own, 2)))
    fresh = call(aten.tanh.default, fresh)
    rest = call(aten.mul.Tensor, update, call(aten.sub.Tensor, hidden, fresh))
    return call(aten.add.Tensor, fresh, rest), None
