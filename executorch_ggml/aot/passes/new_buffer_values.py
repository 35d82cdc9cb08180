"""The new value of a mutable buffer is a node of its own.

torch lets one node be several results of a program. Examples are the new value of two buffers, the new value of a
buffer and an output, and an argument that becomes the value of a buffer. ExecuTorch names each result once, so it mixes
such results up. It refuses `buffer.copy_(argument)`, and it exchanges two buffers one after the other. Buffers are
written at the end of a method, and a view of an old value would show the new one by then. A copy in between tells them
apart.
"""

from __future__ import annotations

import operator
from collections import Counter
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind
from torch.fx import Node

from ._graph import GraphEditor, aten, copy_of, is_tensor, same_shape, value


def separate_new_values(ep: ExportedProgram) -> bool:
    """Gives every new value of a buffer, and every buffer that is returned, a node of its own; in place."""
    editor = GraphEditor(ep)
    output = next(n for n in ep.graph.nodes if n.op == "output")
    results: list[Any] = list(output.args[0])
    specs = ep.graph_signature.output_specs
    if not any(spec.kind is OutputKind.BUFFER_MUTATION for spec in specs):
        return False
    uses = Counter(result for result in results if isinstance(result, Node))
    for i, (spec, result) in enumerate(zip(specs, results, strict=True)):
        if not is_tensor(result):
            continue
        if spec.kind is OutputKind.BUFFER_MUTATION:
            mixed = uses[result] > 1 or memory_of(result).op == "placeholder"
        else:
            mixed = spec.kind is OutputKind.USER_OUTPUT and editor.is_mutated_buffer(memory_of(result))
        if mixed:
            results[i] = editor.call(output, aten.clone.default, result, memory_format=torch.contiguous_format)
    if editor.changed:
        output.args = (tuple(results),)
    return editor.finish()


def copy_what_is_written(ep: ExportedProgram) -> ExportedProgram:
    """The program, as torch exports it, with a copy of the source of every ``copy_`` into a buffer.

    torch makes the source the buffer's new value, and cannot handle two buffers with one. It also forgets that
    ``copy_`` repeats and converts its source: the copy has the shape and type of its target.
    Returns `ep` itself if there is no such ``copy_``; it is never changed.
    """
    if not any(_writes_all(n) or _converts(n) for n in ep.graph.nodes):
        return ep
    graph = copy_of(ep.graph)
    for node in list(graph.nodes):
        if _writes_all(node) or _converts(node):
            node.update_arg(1, _written(graph, node))
    result: ExportedProgram = ep._update(torch.fx.GraphModule(ep.graph_module, graph), ep.graph_signature)
    return result


def _written(graph: torch.fx.Graph, node: Node) -> Node:
    """The source of a ``copy_``, in a tensor of its own."""
    destination, source = node.args[0], node.args[1]
    assert isinstance(destination, Node)
    assert isinstance(source, Node)
    target, given = value(destination), value(source)
    with graph.inserting_before(node):
        written = source
        if given.dtype != target.dtype:
            written = graph.call_function(aten.to.dtype, (written, target.dtype))
            written.meta.update(node.meta)
            written.meta["val"] = given = given.to(target.dtype)
        if not same_shape(given.shape, target.shape):
            written = graph.call_function(aten.expand_as.default, (written, destination))
            written.meta.update(node.meta)
            written.meta["val"] = given = given.expand_as(target)
        copy = graph.call_function(aten.clone.default, (written,))
    copy.meta.update(node.meta)
    copy.meta["val"] = given
    return copy


def _is_copy(node: Node) -> bool:
    return node.op == "call_function" and node.target == aten.copy_.default and isinstance(node.args[1], Node)


def _writes_all(node: Node) -> bool:
    return _is_copy(node) and memory_of(node).op == "placeholder"


def _converts(node: Node) -> bool:
    """Whether a ``copy_`` repeats or converts its source."""
    if not _is_copy(node) or not is_tensor(node.args[0]) or not is_tensor(node.args[1]):
        return False
    target, given = value(node.args[0]), value(node.args[1])
    return target.dtype != given.dtype or not same_shape(target.shape, given.shape)


def memory_of(node: Node) -> Node:
    """The node that owns the memory of a node."""
    while node.op == "call_function" and node.args and isinstance(node.args[0], Node):
        schema = getattr(node.target, "_schema", None)
        shows = node.target in (operator.getitem, aten._unsafe_view.default) or (
            schema is not None and any(r.alias_info is not None for r in schema.returns)
        )
        if not shows:
            break
        node = node.args[0]
    return node
