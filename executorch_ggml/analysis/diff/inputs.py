"""Inputs for a `.pte`: from a file, or random ones that its graphs accept."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from executorch_ggml.errors import FileError, InvalidArgumentError
from executorch_ggml.errors.files import check_regular
from executorch_ggml.ir.expr import evaluate
from executorch_ggml.runtime._arrays import SCALAR_NAMES

from .pte_view import PteView

# Size of a dynamic dimension: not a round number, where a stride mistaken for another would go unnoticed.
_LENGTH = 7
_FLOATS = ("float16", "float32", "float64", "bfloat16")


def read_inputs(path: str | os.PathLike[str]) -> list[Any]:
    """Inputs in the method's order.

    ``.npy``: one array. ``.npz``: arrays under the names ``"0"``, ``"1"`` ... or in the order they were saved in.
    ``.pt``: a tensor, or a list or tuple of tensors and numbers, as ``torch.save`` writes it.

    Raises:
        FileError: a file that cannot be read.
        InvalidArgumentError: another kind of file.
    """
    file = Path(path)
    check_regular(file)
    try:
        if file.suffix == ".npy":
            return [np.load(file, allow_pickle=False)]
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                names = list(arrays)
                if all(name.isdigit() for name in names):
                    names.sort(key=int)
                return [arrays[name] for name in names]
        if file.suffix in (".pt", ".pth"):
            import torch

            value = torch.load(file, weights_only=True)
            return list(value) if isinstance(value, (list, tuple)) else [value]
    except InvalidArgumentError:
        raise
    except Exception as e:  # numpy and torch raise all kinds of things for a damaged file
        raise FileError(f"{file}: {e or type(e).__name__}") from e
    raise InvalidArgumentError(f"{file}: inputs come from .npy, .npz or .pt files")


def random_inputs(method: dict[str, Any], view: PteView, graphs: list[Any], seed: int = 0) -> list[Any]:
    """Arrays for a method, the same for the same seed.

    Floats are normally distributed. Integers fit their use in the graphs: row indices lie inside their table,
    positions count up from zero, other integers are 0 or 1. Dynamic dimensions are 7, or the nearest that is allowed.

    Args:
        method: one entry of ``Program.info()["methods"]``.
        view: the same method as ExecuTorch's reader sees it.
        graphs: payloads of its delegates as object trees.

    Raises:
        InvalidArgumentError: an input that is neither a tensor nor a number.
    """
    uses = _uses(view, graphs)
    random = np.random.default_rng(seed)
    return [
        _random(item, uses.get(value, _Use()), random)
        for item, value in zip(method["inputs"], view.inputs, strict=True)
    ]


@dataclass
class _Use:
    """The delegates' use of one value."""

    shape: tuple[int, ...] | None = None
    rows: int | None = None
    is_position: bool = False
    users: list[Any] = field(default_factory=list)


def _uses(view: PteView, graphs: list[Any]) -> dict[int, _Use]:
    found: dict[int, _Use] = {}
    sizes: dict[str, int] = {}
    for call, graph in zip(view.calls, graphs, strict=True):
        symbols = []
        for symbol in graph.symbols or []:
            nearest = max(symbol.min, min(symbol.max, _LENGTH))
            symbols.append(sizes.setdefault(_text(symbol.name), nearest))
        roles = _roles(graph)
        for index, (value, item) in enumerate(zip(call.arguments, graph.inputs or [], strict=False)):
            use = found.setdefault(value, _Use())
            if item.kind == 0:
                use.shape = tuple(_dim(graph, d, symbols) for d in (item.dims if item.dims is not None else ()))
            elif _scalar_symbol(graph, index) is not None:
                use.rows = 1 + symbols[_scalar_symbol(graph, index) or 0]
            rows, position = roles.get(index, (None, False))
            use.is_position |= position
            if rows is not None:
                use.rows = rows if use.rows is None else min(use.rows, rows)
    return found


def _roles(graph: Any) -> dict[int, tuple[int | None, bool]]:
    """Per integer input: rows of the smallest table it indexes, and whether it numbers positions."""
    found: dict[int, tuple[int | None, bool]] = {}
    inputs: dict[int, int] = {}  # node -> input, through nodes that keep the numbers
    for symbol in graph.symbols or []:
        if type(symbol.source).__name__ == "FromInputMaxT":
            found[symbol.source.input] = (None, True)
    for index, node in enumerate(graph.nodes):
        kind = type(node.op).__name__.removesuffix("T")
        sources = [int(s) for s in (node.src if node.src is not None else ())]
        if kind == "InputLeaf":
            inputs[index] = int(node.op.input)
            if node.op.rows > 0:
                rows, position = found.get(inputs[index], (None, False))
                found[inputs[index]] = (int(node.op.rows) if rows is None else min(rows, int(node.op.rows)), position)
        elif kind in ("Reshape", "View", "Permute", "Cont", "Cast", "Repeat") and sources[0] in inputs:
            inputs[index] = inputs[sources[0]]
        for operand, source in enumerate(sources):
            if source not in inputs:
                continue
            rows, position = found.get(inputs[source], (None, False))
            if (kind, operand) in (("GetRows", 1), ("Scatter", 2)):
                count = int(graph.shapes[graph.nodes[sources[0]].shape].ne[1])
                rows = count if rows is None else min(rows, count)
            position |= (kind, operand) in (("CausalMask", 0), ("SetRows", 2), ("Rope", 1))
            found[inputs[source]] = (rows if rows is None or rows > 0 else None, position)
    return found


def _scalar_symbol(graph: Any, index: int) -> int | None:
    for i, symbol in enumerate(graph.symbols or []):
        if type(symbol.source).__name__ == "FromInputScalarT" and symbol.source.input == index:
            return i
    return None


def _dim(graph: Any, encoded: Any, symbols: Iterable[int]) -> int:
    number = int(encoded)
    if number >= 0:
        return number
    code = [(int(c.code), int(c.arg)) for c in graph.exprs[-1 - number].code]
    return int(evaluate(code, list(symbols)))


def _random(item: dict[str, Any], use: _Use, random: np.random.Generator) -> Any:
    kind = item["kind"]
    if kind == "int":
        return 1 if use.rows is None else use.rows - 1
    if kind == "double":
        return float(random.standard_normal())
    if kind == "bool":
        return True
    if kind != "tensor":
        raise InvalidArgumentError(f"{item['name']} is of kind {kind}: give the inputs yourself")
    shape = use.shape if use.shape is not None else tuple(item["shape"])
    name = SCALAR_NAMES[item["dtype"]]
    if name == "bfloat16":
        import torch

        return torch.from_numpy(random.standard_normal(shape).astype(np.float32)).to(torch.bfloat16)
    if name in _FLOATS:
        return random.standard_normal(shape).astype(name)
    if use.is_position:
        return np.broadcast_to(np.arange(shape[-1] if shape else 1), shape).astype(name)
    return random.integers(0, use.rows or 2, shape).astype(name)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
