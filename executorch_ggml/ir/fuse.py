"""Activations behind a product become part of it: one pass over memory less for each activation.

If only an activation reads a matrix product or convolution (through reshapes, which move nothing), it becomes the
epilogue. Where no kernel can do both, the runtime makes the same two ggml nodes as before.
"""

from __future__ import annotations

from dataclasses import replace

from .graph import Activation, Epilogue, Graph, Node

_PRODUCTS = frozenset({"MulMat", "Conv2d", "Conv3d"})
_NOTHING = Epilogue()
# UnaryKind, as the schema numbers it (ir/_pointwise.py), to the activations of an epilogue.
_RELU = 6
_ACTIVATIONS = {
    7: Activation.SIGMOID,
    10: Activation.SILU,
    11: Activation.HARD_SWISH,
    12: Activation.HARD_SIGMOID,
    14: Activation.GELU_ERF,
    26: Activation.GELU_TANH,
}


def fuse_epilogues(graph: Graph) -> dict[int, int]:
    """Moves activations into the products before them. In place; nodes that nobody reads any more stay behind dead.

    Returns the node that holds the value of each activation that was moved. (The former values of that node, and of
    those between it and the product, no longer exist.)
    """
    live = graph.live()
    uses = dict.fromkeys(live, 0)
    for index in live:
        for source in graph.nodes[index].src:
            uses[source] += 1
    for output in graph.outputs:
        # A result is read from outside: never rewritten into something else.
        uses[output.node] += 2
    now: dict[int, int] = {}
    for index in live:
        node = graph.nodes[index]
        node.src = tuple(now.get(s, s) for s in node.src)
        found = _follows(graph, uses, index)
        if found is None:
            continue
        product, epilogue = found
        product.attrs["then"] = epilogue
        source = node.src[0]
        now[index] = source
        if node.debug_handle:
            graph.nodes[source].joined_handles += (node.debug_handle,)
        uses[source] = uses[index]
    for output in graph.outputs:
        output.node = now.get(output.node, output.node)
    return now


def _follows(graph: Graph, uses: dict[int, int], index: int) -> tuple[Node, Epilogue] | None:
    """The product that can take a node as its epilogue, and that epilogue."""
    node = graph.nodes[index]
    if node.op not in ("Unary", "Clamp"):
        return None
    source = node.src[0]
    while uses[source] == 1 and graph.nodes[source].op == "Reshape":
        source = graph.nodes[source].src[0]
    product = graph.nodes[source]
    if uses[source] != 1 or product.op not in _PRODUCTS:
        return None
    before = product.attrs.get("then", _NOTHING)
    if node.op == "Unary":
        kind = int(node.attrs["kind"])
        if kind in _ACTIVATIONS and before == _NOTHING:
            return product, Epilogue(_ACTIVATIONS[kind])
        if kind != _RELU:
            return None
        low, high = 0.0, float("inf")
    else:
        low, high = float(node.attrs["min"]), float(node.attrs["max"])
    # A second clamp is another function than one clamp with the narrower bounds when they do not overlap.
    if (before.min, before.max) != (_NOTHING.min, _NOTHING.max) or not low <= high:
        return None
    return product, replace(before, min=low, max=high)
