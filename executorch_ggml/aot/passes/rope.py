"""Rotary position embeddings written out in elementary operators, as `executorch_ggml::rope`.

Head size, theta, scaling and magnitude are read from the graph (shapes, the frequency buffer, the arithmetic on it) and
checked numerically; nothing is assumed about the model. Nodes without a proof do not change.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from executorch_ggml.aot import custom_ops

from ._graph import GraphEditor, args_of, argument, aten, dim_index, is_call, is_delegable, shape, value
from ._rope_forms import Rotation, complex_form, part_of, rotate_form, split_form
from ._rope_tables import RopeTables, prove_tables


def _complex_tables(editor: GraphEditor, before: Node, table: Node) -> tuple[Node, Node]:
    """Real and imaginary part of a complex table, as nodes that exist only for the proof."""
    pairs = editor.call(before, aten.view_as_real.default, table)
    return editor.call(before, aten.select.int, pairs, -1, 0), editor.call(before, aten.select.int, pairs, -1, 1)


def _rest(node: Node, x: Node) -> tuple[Node, Node, Node] | None:
    """(whole, x's place in it, cat) if x is the front of a wider head, and the rest is appended unrotated."""
    part = part_of(x)
    if part is None or part.start != 0 or part.step != 1 or len(node.users) != 1:
        return None
    cat = next(iter(node.users))
    if not is_call(cat, aten.cat.default):
        return None
    parts = args_of(cat)[0]
    if not isinstance(parts, (list, tuple)) or len(parts) != 2 or parts[0] is not node:
        return None
    if dim_index(argument(cat, 1, "dim", 0), len(shape(cat))) != len(shape(cat)) - 1:
        return None
    tail = part_of(parts[1])
    width = shape(part.source)[-1]
    if tail is None or tail.source is not part.source or (tail.start, tail.step) != (part.count, 1):
        return None
    return (part.source, x, cat) if part.count + tail.count == width else None


def _emit(editor: GraphEditor, node: Node, rotation: Rotation, found: RopeTables) -> None:
    n_dims = shape(rotation.x)[-1]
    x, target = rotation.x, node
    rest = _rest(node, rotation.x)
    if rest is not None:
        x, _, target = rest
    positions = found.positions
    if positions is None:
        length: Any = shape(x)[found.axis]
        if not isinstance(length, int):
            length = editor.call(target, aten.sym_size.int, x, len(shape(x)) + found.axis)
        positions = editor.call(target, aten.arange.default, length, dtype=torch.int64, device=value(x).device)
    elif len(shape(positions)) == 2:
        positions = editor.call(target, aten.squeeze.dims, positions, [0])
    factors = None if found.freq_factors is None else editor.add_constant(found.freq_factors, "rope_factors")
    rank = len(shape(x))
    # The operator wants [..., T, H, D].
    if found.axis == -2:
        x = (
            editor.call(target, aten.unsqueeze.default, x, 1)
            if rank == 2
            else editor.call(target, aten.transpose.int, x, rank - 3, rank - 2)
        )
    result = editor.call(
        target,
        torch.ops.executorch_ggml.rope.default,
        x,
        positions,
        factors,
        n_dims,
        rotation.mode,
        found.freq_base,
        found.freq_scale,
        0.0,
        found.attn_factor,
        32.0,
        1.0,
        0,
    )
    if found.axis == -2:
        result = (
            editor.call(target, aten.squeeze.dims, result, [1])
            if rank == 2
            else editor.call(target, aten.transpose.int, result, rank - 3, rank - 2)
        )
    if value(result).dtype != value(target).dtype:
        result = editor.call(target, aten._to_copy.default, result, dtype=value(target).dtype)
    editor.replace(target, result)


def _match(editor: GraphEditor, node: Node) -> tuple[Rotation, list[Node]] | None:
    """The rotation that ends in this node, and nodes made for the proof only."""
    rotation = rotate_form(node) or split_form(node)
    if rotation is not None:
        return rotation, []
    complex_rotation = complex_form(node)
    if complex_rotation is None:
        return None
    cos, sin = _complex_tables(editor, node, complex_rotation.table)
    return Rotation(complex_rotation.x, cos, sin, custom_ops.ROPE_NORM), [cos, sin]


def fuse_rope(ep: ExportedProgram) -> bool:
    """Rewrite every proved rotary embedding of `ep` in place; True if there was one."""
    editor = GraphEditor(ep)
    proved: dict[object, RopeTables | None] = {}
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or not is_delegable(node):
            continue
        match = _match(editor, node)
        if match is None:
            continue
        rotation, _ = match
        if not is_delegable(rotation.x):
            continue
        width = shape(rotation.x)[-1]
        if not isinstance(width, int) or len(shape(rotation.x)) < 2:
            continue
        # One pair of tables serves every layer; the proof depends on x's shape only.
        key = (rotation.cos, rotation.sin, rotation.mode, tuple(str(d) for d in shape(rotation.x)))
        if key not in proved:
            proved[key] = prove_tables(editor, rotation.x, rotation.cos, rotation.sin, rotation.mode, width)
        found = proved[key]
        if found is not None:
            _emit(editor, node, rotation, found)
    return editor.finish()
