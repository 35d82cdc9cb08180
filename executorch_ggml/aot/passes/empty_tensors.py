"""Tensors without elements, made from nothing.

A tensor with a size of 0 needs no kernel: it is its shape. Nodes that yield one become `full`, so their sources are not
computed. Their readers (a sum over nothing, a product with nothing between) can then be evaluated ahead of time.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, OutputKind
from torch.fx import Node

from executorch_ggml.aot.node_view import is_empty

from ._graph import GraphEditor, aten, is_tensor, shape, value


def replace_empty(ep: ExportedProgram) -> bool:
    """Make every call that yields a static tensor without elements a `full`, in place; True if there was one.

    Constants without elements are replaced too: ExecuTorch stores none. States keep their node.
    """
    editor = GraphEditor(ep)
    written = {
        spec.arg.name
        for spec in ep.graph_signature.output_specs
        if spec.kind is not OutputKind.USER_OUTPUT and hasattr(spec.arg, "name")
    }
    first = next(n for n in editor.graph.nodes if n.op != "placeholder")
    for node in list(editor.graph.nodes):
        if not _is_replaceable(editor, node) or node.name in written:
            continue
        new = editor.call(
            first if node.op == "placeholder" else node,
            aten.full.default,
            [int(d) for d in shape(node)],
            0,
            dtype=value(node).dtype,
            device=value(node).device,
        )
        editor.replace(node, new)
    changed = editor.finish()
    return _forget_constants(editor) or changed


def _forget_constants(editor: GraphEditor) -> bool:
    """Takes constants without elements that nothing reads out of the signature: no runtime could load them."""
    ep = editor.ep
    gone = {
        node.name
        for node in ep.graph.nodes
        if node.op == "placeholder" and not node.users and is_empty(node.meta.get("val"))
        if editor.constant(node) is not None
    }
    if not gone:
        return False
    for node in list(ep.graph.nodes):
        if node.op == "placeholder" and node.name in gone:
            ep.graph.erase_node(node)
    signature = ep.graph_signature
    specs = [s for s in signature.input_specs if getattr(s.arg, "name", None) not in gone]
    ep._graph_signature = ExportGraphSignature(specs, list(signature.output_specs))
    ep.graph_module.recompile()
    return True


def _is_replaceable(editor: GraphEditor, node: Node) -> bool:
    if not node.users or not is_tensor(node) or not is_empty(value(node)):
        return False
    if not all(isinstance(d, int) for d in shape(node)):
        return False
    if node.op == "placeholder":
        return editor.constant(node) is not None
    return node.op == "call_function" and node.target != aten.full.default
