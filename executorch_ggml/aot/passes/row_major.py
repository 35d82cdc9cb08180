"""Every tensor of a program in row-major order.

A graph says which elements there are; strides only say their places in memory. ExecuTorch turns the strides of an
example into the order of a buffer. It then copies arguments, results and constants and ignores strides, so a model in
channels-last gives its numbers in the wrong order. Here the order is taken out of the program before anything else sees
it. Inputs, constants and results are row-major for every example and all weights. Values do not change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

from executorch_ggml.aot.lower_nodes import source_line
from executorch_ggml.errors import UnsupportedError

from ._graph import GraphEditor, aten, same_dim

_VIEWS = (aten.view.default, aten._unsafe_view.default, aten.view_copy.default)
_COPIES = (aten.clone.default, aten._to_copy.default)
# Tensors with strides and elements that are left open: where the size is among the arguments.
_OPEN = {aten.empty_permuted.default: 0, aten.empty_strided.default: 0, aten.new_empty_strided.default: 1}
# Results are column-major, as LAPACK has them, for arguments in any order.
_COLUMN_MAJOR = (aten.linalg_solve_triangular.default,)
_STRIDED = (
    aten.as_strided.default,
    aten.as_strided_copy.default,
    aten.as_strided_scatter.default,
    aten.sym_stride.int,
    aten.sym_storage_offset.default,
)


def row_major(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape and type in row-major order; the tensor itself if it is in that order.

    Strides of dimensions of size 1 count: ExecuTorch reads an order from them too.
    """
    shape = tuple(tensor.shape)
    plain = torch.empty(shape, dtype=tensor.dtype, device=tensor.device)
    return tensor if _same(plain.stride(), tensor.stride()) else plain.requires_grad_(tensor.requires_grad)


def is_row_major(tensor: torch.Tensor) -> bool:
    """Whether the strides are those of row-major order, for every value of their symbols."""
    expected: Any = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if not same_dim(stride, expected):
            # torch writes some products of symbols in more than one way: asked only where a symbol is in them.
            known = isinstance(stride, int) and isinstance(expected, int)
            return not known and _same(torch.empty(tuple(tensor.shape), device="meta").stride(), tensor.stride())
        if not (isinstance(size, int) and size <= 1):
            expected = expected * size
    return True


def _same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    return all(same_dim(a, b) for a, b in zip(left, right, strict=True))


def use_row_major(ep: ExportedProgram) -> bool:
    """Make every tensor of a functional program row-major, in place; True if one was not.

    Raises:
        UnsupportedError: the program looks at the memory of a tensor (`as_strided`) of which the order is not the one
            that it would have.
    """
    modules = [m for m in ep.graph_module.modules() if isinstance(m, GraphModule)]
    for module in modules:
        for node in module.graph.nodes:
            if node.op == "call_function" and node.target in _STRIDED:
                _refuse_strided(node)
    changed = _constants(ep)
    nodes = [node for module in modules for node in module.graph.nodes]
    if not changed and not any(_is_ordered(node) for node in nodes):
        return False
    mode = detect_fake_mode([n.meta.get("val") for n in nodes if n.op == "placeholder"])
    with mode if mode is not None else contextlib.nullcontext(), torch.no_grad():
        for node in nodes:
            _settle(node)
    for module in modules:
        module.recompile()
    _copy_column_major(ep)
    return True


def _copy_column_major(ep: ExportedProgram) -> None:
    """A copy behind each operator that chooses its order: ExecuTorch computes strides anew from the operators."""
    editor = GraphEditor(ep)
    for node in list(ep.graph.nodes):
        if node.op == "call_function" and node.target in _COLUMN_MAJOR:
            copy = editor.call(node.next, aten.clone.default, node, memory_format=torch.contiguous_format)
            node.replace_all_uses_with(copy, delete_user_cb=lambda user, copy=copy: user is not copy)
    editor.finish()


def _is_ordered(node: Node) -> bool:
    """Whether a node brings an order other than row-major into the program."""
    if node.op == "placeholder":
        val = node.meta.get("val")
        return isinstance(val, torch.Tensor) and val.layout is torch.strided and not is_row_major(val)
    if node.op != "call_function":
        return False
    chooses = node.target in _OPEN or node.target in _COLUMN_MAJOR or node.target == aten.empty_like.default
    return chooses or _asks_for_order(node)


def _asks_for_order(node: Node) -> bool:
    asked = node.kwargs.get("memory_format")
    return asked not in (None, torch.preserve_format, torch.contiguous_format)


def _settle(node: Node) -> None:
    if node.op not in ("placeholder", "call_function"):
        return
    if node.op == "call_function":
        if node.target in _VIEWS:  # a view insists on strides
            node.target = aten.reshape.default
        elif node.target in _OPEN:
            node.args = (node.args[_OPEN[node.target]], 0)
            node.kwargs = {"dtype": node.meta["val"].dtype, "device": node.meta["val"].device}
            node.target = aten.full.default
        elif node.target == aten.empty_like.default:
            node.args = (node.args[0], 0)
            node.kwargs = {"dtype": node.meta["val"].dtype}
            node.target = aten.full_like.default
        if _asks_for_order(node):
            kwargs = {k: v for k, v in node.kwargs.items() if k != "memory_format"}
            if node.target in _COPIES:
                kwargs["memory_format"] = torch.contiguous_format
            node.kwargs = kwargs
    val = node.meta.get("val")
    if isinstance(val, torch.Tensor):
        node.meta["val"] = _plain(val)
    elif isinstance(val, (tuple, list)):
        node.meta["val"] = type(val)([_plain(v) for v in val])


def _plain(val: Any) -> Any:
    if not isinstance(val, torch.Tensor) or val.layout is not torch.strided:
        return val
    return row_major(val)


def use_row_major_edge(ep: ExportedProgram) -> bool:
    """The same of an edge program, in place: decompositions bring orders of their own (`upsample` of a permuted image).

    Views are copies in an edge program, so only the orders have to change. Constants keep the order of their data.

    Raises:
        UnsupportedError: another backend has a part of the program already, which relies on the orders that it saw.
    """
    modules = [m for m in ep.graph_module.modules() if isinstance(m, GraphModule)]
    nodes = [n for m in modules for n in m.graph.nodes]
    constants = {s.arg.name for s in ep.graph_signature.input_specs if s.target is not None}
    if any(getattr(n.target, "__name__", "") == "executorch_call_delegate" for n in nodes):
        ordered = next((n for n in nodes if n.name not in constants and _has_order(n)), None)
        if ordered is None:
            return False
        raise UnsupportedError(
            f"{ordered.name} is not in row-major order, and another backend has a part of the program; "
            "give GgmlPartitioner first in the list of partitioners"
        )
    changed = False
    mode = detect_fake_mode([n.meta.get("val") for n in nodes if n.op == "placeholder"])
    with mode if mode is not None else contextlib.nullcontext(), torch.no_grad():
        for node in nodes:
            if node.op == "call_function":
                order = node.kwargs.get("dim_order")
                if isinstance(order, (list, tuple)) and list(order) != list(range(len(order))):
                    node.kwargs = {**node.kwargs, "dim_order": list(range(len(order)))}
                    changed = True
            elif node.op != "placeholder" or node.name in constants:
                continue
            before = node.meta.get("val")
            _settle(node)
            changed = changed or not _identical(before, node.meta.get("val"))
    if changed:
        for module in modules:
            module.recompile()
    return changed


def _has_order(node: Node) -> bool:
    val = node.meta.get("val")
    return any(
        isinstance(v, torch.Tensor) and v.layout is torch.strided and not is_row_major(v)
        for v in (val if isinstance(val, (tuple, list)) else (val,))
    )


def _identical(left: Any, right: Any) -> bool:
    if isinstance(left, (tuple, list)):
        return all(a is b for a, b in zip(left, right, strict=True))
    return left is right


# ---------------------------------------------------------------- constants


def _constants(ep: ExportedProgram) -> bool:
    """Parameters, buffers and constants in row-major order; the program gets dictionaries of its own."""
    used = {spec.target for spec in ep.graph_signature.input_specs if spec.target is not None}
    copies: dict[int, torch.Tensor] = {}
    state, constants = dict(ep.state_dict), dict(ep.constants)
    for table in (state, constants):
        for name in used & table.keys():
            data = table[name]
            if type(data) not in (torch.Tensor, torch.nn.Parameter, FakeTensor) or data.layout is not torch.strided:
                continue
            if not is_row_major(data):
                if id(data) not in copies:  # tied weights stay tied
                    copies[id(data)] = _copy(data)
                table[name] = copies[id(data)]
    if not copies:
        return False
    ep._state_dict, ep._constants = state, constants
    return True


def _copy(data: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        copy = data.detach().clone(memory_format=torch.contiguous_format)
    if isinstance(data, torch.nn.Parameter):
        return torch.nn.Parameter(copy, requires_grad=data.requires_grad)
    return copy


# ---------------------------------------------------------------- looks at memory


def _refuse_strided(node: Node) -> None:
    """Refuses a look at the memory of a tensor that is not a row-major whole: the program will hold another memory."""
    source = node.args[0]
    val = source.meta.get("val") if isinstance(source, Node) else None
    if not isinstance(val, torch.Tensor):
        return
    whole = (
        val.layout is torch.strided
        and is_row_major(val)
        and same_dim(val.storage_offset(), 0)
        and same_dim(val.untyped_storage().nbytes(), val.numel() * val.element_size())
    )
    if whole:
        return
    where = source_line(node)
    raise UnsupportedError(
        f"{node.name} ({node.target}) reads the memory of {source}, which is a view or not in row-major order; "
        f"call .contiguous() on it first{f' [{where}]' if where else ''}"
    )
