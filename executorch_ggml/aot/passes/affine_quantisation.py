"""Quantised weights and activations of torchao and of PT2E, as numbers that every operator takes.

Weights are dequantised here: they are constants, and products have the numbers of the model's own eager. `quant=`
stores them in ggml's blocks. Activations that are quantised and dequantised again are rounded in float32, which holds
such integers exactly. Integers that go on as integers, and their products, are computed as torch does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from ._graph import GraphEditor, args_of, argument, aten, is_tensor, shape, value
from .composites import inline, traced_parts

_EXACT = 1 << 24
_INT_MM = aten._int_mm.default
_QUANTISE = ("quantize_affine", "quantize_per_tensor", "quantize_per_channel", "quantize_per_token")
_DEQUANTISE = tuple(f"de{name}" for name in _QUANTISE)


def expand_affine_quantisation(ep: ExportedProgram) -> bool:
    """Rewrite, in place, affine quantisation and products of integers; True if there was any."""
    editor = GraphEditor(ep)
    for node in list(editor.graph.nodes):
        if _name(node) in _DEQUANTISE:
            _ = _fold(editor, node) or _round(editor, node) or _expand(editor, node)
        elif node.op == "call_function" and node.target == _INT_MM:
            _multiply(editor, node)
    for node in reversed(list(editor.graph.nodes)):  # after those that read them
        if node.users and (_name(node) in _QUANTISE or _name(node).startswith("choose_qparams")):
            _expand(editor, node)
    return editor.finish()


def _name(node: Node) -> str:
    """The operator without namespace and overload; empty for other namespaces."""
    target = node.target
    if node.op != "call_function" or not isinstance(target, torch._ops.OpOverload):
        return ""
    space, _, name = str(target._schema.name).partition("::")
    return name if space in ("torchao", "quantized_decomposed") else ""


def _fold(editor: GraphEditor, node: Node) -> bool:
    """A constant in float."""
    sources = node.all_input_nodes
    data = [editor.constant(s) for s in sources]
    if any(d is None for d in data):
        return False
    known = dict(zip(sources, data, strict=True))
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: known[n])
    assert callable(node.target)
    with torch.no_grad():
        result: torch.Tensor = node.target(*args, **kwargs)
    # torchao keeps the parts of `a.weight` as `a.parametrizations.weight.original0` and so on.
    name = editor.target_of(sources[0]).replace("parametrizations.", "").rpartition(".original")[0]
    editor.replace(node, editor.add_parameter(result, name or f"{editor.target_of(sources[0])}_dequantised"))
    return True


# -------------------------------------------------------------------------------------- there and back


@dataclass(frozen=True)
class _Quantiser:
    """``clamp(round(x / scale) + zero, least, most)``, with a scale and a zero point for each block of x.

    block: sizes of a block; None: all of x.
    """

    x: Node
    block: tuple[Any, ...] | None
    scale: Any
    zero: Any
    least: Any
    most: Any


def _quantiser(node: Node) -> _Quantiser | None:
    """The numbers of a node that quantises or dequantises."""
    name, args = _name(node).removeprefix("de").removeprefix("quantize_"), args_of(node)
    x = args[0]
    sizes = tuple(shape(x)) if is_tensor(x) else ()
    if name == "affine":
        limits = argument(node, 5, "quant_min"), argument(node, 6, "quant_max")
        return _Quantiser(x, tuple(args[1]), args[2], args[3], *limits)
    if name == "per_tensor":
        return _Quantiser(x, None, *args[1:5])
    if name == "per_channel":
        axis = args[3] % len(sizes)
        return _Quantiser(x, tuple(1 if d == axis else n for d, n in enumerate(sizes)), args[1], args[2], *args[4:6])
    if name == "per_token":
        return _Quantiser(x, (*(1 for _ in sizes[:-1]), sizes[-1]), *args[1:5])
    return None


@dataclass(frozen=True)
class _Chooser:
    """Scale and zero point from the least and the largest number of each block."""

    symmetric: bool
    block: tuple[Any, ...] | None
    least: int
    most: int
    eps: float


def _chooser(scale: Any, zero: Any) -> _Chooser | None:
    """How scale and zero point are chosen, if one node of a kind known here chooses both."""
    source = args_of(scale)[0] if isinstance(scale, Node) and scale.args else None
    if not isinstance(source, Node) or not isinstance(zero, Node) or not zero.args or args_of(zero)[0] is not source:
        return None
    name, args = _name(source), args_of(source)
    if name == "choose_qparams_affine" and args[1] in ("SYMMETRIC", "ASYMMETRIC"):
        least, most, eps, dtype = (
            argument(source, i, n) for i, n in ((4, "quant_min"), (5, "quant_max"), (6, "eps"), (7, "scale_dtype"))
        )
        if least is None or most is None or dtype not in (None, torch.float32):
            return None
        eps = torch.finfo(torch.float32).eps if eps is None else eps
        return _Chooser(args[1] == "SYMMETRIC", tuple(args[2]), least, most, eps)
    if name == "choose_qparams":
        return _Chooser(False, None, *args[1:4])
    if name == "choose_qparams_symmetric" and args[4] == torch.int8:
        return _Chooser(True, None, *args[1:4])
    return None


def _round(editor: GraphEditor, node: Node) -> bool:
    """Quantised and dequantised with the same numbers: rounded in float32."""
    source = args_of(node)[0]
    if not isinstance(source, Node) or _name(source) not in _QUANTISE:
        return False
    there, back = _quantiser(source), _quantiser(node)
    if there is None or back is None or (there.scale, there.zero) != (back.scale, back.zero):
        return False
    if (there.block, there.least, there.most) != (back.block, back.least, back.most):
        return False
    if {value(there.x).dtype, value(node).dtype} != {torch.float32}:
        return False
    if not isinstance(there.least, int) or not isinstance(there.most, int) or there.most - there.least >= _EXACT:
        return False
    chooser = _chooser(there.scale, there.zero)
    given = [there.x]
    if chooser is None:
        given += [p for p in (there.scale, there.zero) if isinstance(p, Node)]
    parts = traced_parts(functools.partial(_there_and_back, there, chooser), given, {})
    if parts is None:
        return False
    inline(editor, node, parts, given)
    return True


def _there_and_back(
    quantiser: _Quantiser, chooser: _Chooser | None, x: torch.Tensor, *tensors: torch.Tensor
) -> torch.Tensor:
    rest = iter(tensors)
    if chooser is not None:
        scale, zero = _parameters(x, chooser)
    else:
        scale, zero = (next(rest) if isinstance(p, Node) else p for p in (quantiser.scale, quantiser.zero))
    whole, reduced = _split(x.shape, quantiser.block)
    if isinstance(scale, torch.Tensor):
        scale = scale.to(torch.float32).reshape(reduced)
    zero = zero.to(torch.float32).reshape(reduced) if isinstance(zero, torch.Tensor) else (zero or 0)
    q = torch.clamp(torch.round(x.reshape(whole) * (1.0 / scale)) + zero, quantiser.least, quantiser.most)
    return ((q - zero) * scale).reshape(x.shape)


def _parameters(x: torch.Tensor, chooser: _Chooser) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of each block in float32, by the formula of torchao and of PT2E."""
    whole, _ = _split(x.shape, chooser.block)
    dims = list(range(len(whole))) if chooser.block is None else [2 * i + 1 for i in range(x.dim())]
    blocks = x.reshape(whole)
    low = torch.clamp(torch.amin(blocks, dims, keepdim=True), max=0.0)
    high = torch.clamp(torch.amax(blocks, dims, keepdim=True), min=0.0)
    least, most = chooser.least, chooser.most
    if chooser.symmetric:
        scale = torch.clamp(torch.maximum(-low, high) / (float(most - least) / 2), min=chooser.eps)
        return scale, torch.full_like(scale, float(int((most + least + 1) / 2)))
    scale = torch.clamp((high - low) / float(most - least), min=chooser.eps)
    return scale, torch.clamp(least - torch.round(low / scale), least, most)


def _split(sizes: Sequence[Any], block: Sequence[Any] | None) -> tuple[list[Any], list[Any]]:
    """([n0, b0, n1, b1, ...], [n0, 1, n1, 1, ...]) for n blocks of size b along each dimension."""
    if block is None:
        return list(sizes), [1] * len(sizes)
    pairs = []
    for size, b in zip(sizes, block, strict=True):
        if b == 1:
            pairs.append((size, 1))
        else:
            pairs.append((size // b, b) if isinstance(size, int) else (1, size))
    return [d for pair in pairs for d in pair], [d for n, _ in pairs for d in (n, 1)]


# -------------------------------------------------------------------------------------- integers


def _expand(editor: GraphEditor, node: Node) -> bool:
    """As the operators that the library makes of it."""
    given = list(node.all_input_nodes)

    def call(*tensors: torch.Tensor) -> Any:
        place = dict(zip(given, tensors, strict=True))
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: place[n])
        assert callable(node.target)
        return node.target(*args, **kwargs)

    parts = traced_parts(call, given, _decompositions())
    if parts is None or any(_name(part) for part in parts.nodes):
        return False
    inline(editor, node, parts, given)
    return True


@functools.cache
def _decompositions() -> Mapping[Any, Callable[..., Any]]:
    from torch._inductor.decomposition import decompositions
    from torch.ao.quantization.fx import _decomposed

    found = {target: f for target, f in decompositions.items() if str(target).startswith("torchao.")}
    for name in ("quantize_per_tensor", "dequantize_per_tensor", "quantize_per_channel", "dequantize_per_channel"):
        found[getattr(torch.ops.quantized_decomposed, name).default] = getattr(_decomposed, name)
    return found


def _multiply(editor: GraphEditor, node: Node) -> None:
    """A product of small integers: float32 has each sum of up to so many products exactly, and int32 adds these."""
    a, b = args_of(node)[:2]
    inner = shape(a)[1]
    largest = 1
    for operand in (a, b):
        info = torch.iinfo(value(operand).dtype)
        largest *= max(-info.min, info.max)
    step = _EXACT // largest
    if not isinstance(inner, int):
        return
    total: Node | None = None
    for start in range(0, inner, step):
        end = min(start + step, inner)
        x = a if step >= inner else editor.call(node, aten.slice.Tensor, a, 1, start, end)
        y = b if step >= inner else editor.call(node, aten.slice.Tensor, b, 0, start, end)
        x, y = (editor.call(node, aten._to_copy.default, t, dtype=torch.float32) for t in (x, y))
        part = editor.call(node, aten._to_copy.default, editor.call(node, aten.mm.default, x, y), dtype=torch.int32)
        total = part if total is None else editor.call(node, aten.add.Tensor, total, part)
    if total is not None:
        editor.replace(node, total)
