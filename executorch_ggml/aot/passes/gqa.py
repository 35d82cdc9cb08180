"""Grouped-query attention without the copies of its keys and values.

Models repeat each key head for the query heads that share it (unsqueeze, expand, reshape, or repeat_interleave) before
attention. `scaled_dot_product_attention(..., enable_gqa=True)` takes them unrepeated.
"""

from __future__ import annotations

from typing import Any

from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import (
    GraphEditor,
    args_of,
    argument,
    aten,
    dim_index,
    is_call,
    is_tensor,
    nodes_of,
    same_dim,
    same_shape,
    shape,
)

_SDPA = aten.scaled_dot_product_attention.default


def _unrepeated(editor: GraphEditor, before: Node, node: Node) -> tuple[Node, int] | None:
    """([B, Hkv, S, D], repeats), if the node [B, H, S, D] holds every head `repeats` times in a row."""
    if len(shape(node)) != 4:
        return None
    if is_call(node, aten.transpose.int) and {dim_index(d, 4) for d in args_of(node)[1:3]} == {1, 2}:
        # Repeated before the heads became the second dimension.
        inner = args_of(node)[0]
        found = _source_of_repeat(inner, 2) if is_tensor(inner) else None
        if found is None:
            return None
        return editor.call(before, aten.transpose.int, found[0], 1, 2), found[1]
    return _source_of_repeat(node, 1)


def _source_of_repeat(node: Node, dim: int) -> tuple[Node, int] | None:
    """(source, repeats), if the node of rank 4 repeats each entry of one dimension of its source in place."""
    if is_call(node, aten.repeat_interleave.self_int):
        source, repeats = args_of(node)[0], args_of(node)[1]
        at = argument(node, 2, "dim")
        if is_tensor(source) and isinstance(repeats, int) and at is not None and dim_index(at, 4) == dim:
            return source, repeats
        return None
    if not is_call(node, aten.reshape.default, aten.view.default, aten._unsafe_view.default):
        return None
    wide = args_of(node)[0]
    if is_call(wide, aten.clone.default):
        wide = args_of(wide)[0]
    if not is_call(wide, aten.expand.default):
        return None
    narrow = args_of(wide)[0]
    if not is_call(narrow, aten.unsqueeze.default) or dim_index(args_of(narrow)[1], 5) != dim + 1:
        return None
    source = args_of(narrow)[0]
    if not is_tensor(source) or len(shape(source)) != 4 or len(shape(wide)) != 5:
        return None
    heads, repeats = shape(source)[dim], shape(wide)[dim + 1]
    if not isinstance(heads, int) or not isinstance(repeats, int):
        return None
    full, given = list(shape(source)), list(shape(wide))
    repeated = [*full[: dim + 1], repeats, *full[dim + 1 :]]
    merged = [*full[:dim], heads * repeats, *full[dim + 1 :]]
    return (source, repeats) if same_shape(given, repeated) and same_shape(shape(node), merged) else None


def strip_gqa_expand(ep: ExportedProgram) -> bool:
    """Feed attention the unrepeated keys and values, in place; True if some were repeated."""
    editor = GraphEditor(ep)
    for node in nodes_of(editor.graph, _SDPA):
        query, key, value = (argument(node, i, name) for i, name in enumerate(("query", "key", "value")))
        if argument(node, 7, "enable_gqa", False) or not all(is_tensor(x) for x in (query, key, value)):
            continue
        keys, values = _source(key), _source(value)
        if keys is None or values is None or keys != values:
            continue
        new_key, new_value = _unrepeated(editor, node, key), _unrepeated(editor, node, value)
        if new_key is None or new_value is None:
            continue
        if not same_dim(shape(query)[1], shape(key)[1]):
            continue
        kwargs: dict[str, Any] = {
            "attn_mask": argument(node, 3, "attn_mask"),
            "dropout_p": argument(node, 4, "dropout_p", 0.0),
            "is_causal": argument(node, 5, "is_causal", False),
            "scale": node.kwargs.get("scale"),
            "enable_gqa": True,
        }
        editor.replace(node, editor.call(node, _SDPA, query, new_key[0], new_value[0], **kwargs))
    return editor.finish()


def _source(node: Node) -> int | None:
    """How often each head is repeated, None if it is not."""
    if len(shape(node)) != 4:
        return None
    if is_call(node, aten.transpose.int) and {dim_index(d, 4) for d in args_of(node)[1:3]} == {1, 2}:
        inner = args_of(node)[0]
        found = _source_of_repeat(inner, 2) if is_tensor(inner) else None
    else:
        found = _source_of_repeat(node, 1)
    return None if found is None else found[1]
