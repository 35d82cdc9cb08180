"""Composite operators on integers, float64 or several types, as the operators that they are made of.

torch takes them apart after our rewrites, which would then miss faults of ExecuTorch's kernels. Examples are the sum
in a product of a matrix and a vector, the `cat` in `hstack`, and the remainder in `cross`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, aten, is_call, is_tensor, value

# The rewrites of integers look for these.
_SOUGHT = (
    *(aten.sum.default, aten.sum.dim_IntList, aten.sort.default, aten.sort.stable),
    *(aten.div.Tensor_mode, aten.div.Scalar_mode, aten.floor_divide.default, aten.floor_divide.Scalar),
    *(aten.remainder.Tensor, aten.remainder.Scalar, aten.remainder.Scalar_Tensor),
    *(aten.fmod.Tensor, aten.fmod.Scalar, aten.pow.Tensor_Tensor, aten.pow.Tensor_Scalar, aten.pow.Scalar),
)
# Made of `cat` and `stack`, which take several types in torch and one in ExecuTorch.
_STACKS = (
    *(aten.hstack.default, aten.vstack.default, aten.dstack.default, aten.column_stack.default, aten.row_stack.default),
    *(aten.concat.default, aten.concatenate.default, aten.block_diag.default),
)
# These have rewrites of their own, or lowerings that need them whole.
_WHOLE = (aten.pad.default, aten.one_hot.default, aten.copy.default)
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


def expand_composites(ep: ExportedProgram) -> bool:
    """Take apart, in place, composites that hide an operator for which there is a rewrite; True if there was one."""
    editor = GraphEditor(ep)
    for node in list(editor.graph.nodes):
        if not _may_hide(node):
            continue
        parts = _parts(node)
        if parts is not None and (node.target in _STACKS or any(map(_is_sought, parts.nodes))):
            inline(editor, node, parts, node.all_input_nodes)
    return editor.finish()


def _may_hide(node: Node) -> bool:
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload) or not is_tensor(node):
        return False
    types = {value(i).dtype for i in node.all_input_nodes if is_tensor(i)}
    if node.target in _STACKS:
        return len(types) > 1
    if node.target in _SOUGHT or node.target in _WHOLE or node.target.namespace != "aten":
        return False
    integers = not any(t.is_floating_point or t.is_complex for t in types) and not types <= {torch.bool}
    if not integers and types != {torch.float64}:
        return False
    return node.target in _decompositions() or node.target.has_kernel_for_dispatch_key(_COMPOSITE)


def _is_sought(part: Node) -> bool:
    """Whether a rewrite looks for an operator; fractions beside integers decide the type of a result."""
    if not is_call(part):
        return False
    sources = [value(i).dtype for i in part.all_input_nodes if is_tensor(i)]
    fraction = any(isinstance(a, float) for a in part.args) and not any(t.is_floating_point for t in sources)
    return part.target in _SOUGHT or (fraction and bool(sources))


@functools.cache
def _decompositions() -> Mapping[Any, Any]:
    from executorch.exir.tracer import _default_decomposition_table

    table: Mapping[Any, Any] = _default_decomposition_table()
    return table


def _parts(node: Node) -> torch.fx.Graph | None:
    """The graph of one operator's parts, with its tensors as placeholders; None if torch cannot take it apart."""
    inputs = node.all_input_nodes

    def call(*tensors: torch.Tensor) -> Any:
        place = dict(zip(inputs, tensors, strict=True))
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: place[n])
        assert callable(node.target)
        return node.target(*args, **kwargs)

    return traced_parts(call, inputs, _decompositions())


def traced_parts(
    call: Callable[..., Any], inputs: Sequence[Node], decompositions: Mapping[Any, Any]
) -> torch.fx.Graph | None:
    """The graph of a function of some nodes' tensors, as placeholders in this order; None if torch cannot trace it."""
    from torch._guards import detect_fake_mode
    from torch.fx.experimental.proxy_tensor import make_fx

    if not all(is_tensor(i) for i in inputs):
        return None
    given = [value(i) for i in inputs]
    mode = detect_fake_mode(given)
    try:
        with mode if mode is not None else contextlib.nullcontext(), torch.no_grad():
            return make_fx(call, decomposition_table=dict(decompositions))(*given).graph
    except Exception:  # a decomposition that does not take these arguments: torch will say so itself
        return None


def inline(editor: GraphEditor, node: Node, parts: torch.fx.Graph, inputs: Sequence[Node]) -> None:
    """Puts a graph in the place of a node; its placeholders are ``inputs``.

    Several results replace the nodes that pick them.
    """
    places = dict(zip((n for n in parts.nodes if n.op == "placeholder"), inputs, strict=True))
    for part in parts.nodes:
        if part.op == "call_function":
            args, kwargs = torch.fx.map_arg((part.args, part.kwargs), lambda n: places[n])
            places[part] = editor.call(node, part.target, *args, **kwargs)
        elif part.op == "output" and isinstance(part.args[0], (tuple, list)):
            for user in list(node.users):
                index: Any = user.args[1]
                editor.replace(user, places[part.args[0][int(index)]])
        elif part.op == "output":
            editor.replace(node, places[part.args[0]])
