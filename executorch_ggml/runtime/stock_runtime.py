"""Arguments of ExecuTorch's own Python runtime, laid out as the program expects them.

`Method.execute` of ExecuTorch 1.5 copies the memory of a tensor and forgets its layout. An image in channels-last,
given to a program that takes row-major images, is then read in the wrong order without a word. Here an argument that
is not in the order of its input is copied into that order first. Others are passed as they are.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import mmap
import struct
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ._arrays import is_torch

_NAME = "executorch.runtime"
_ORDERS = "_orders_of_inputs"
_CHANNELS_LAST = (0, 2, 3, 1)

Orders = dict[str, list[tuple[int, ...] | None]]
"""By method: of each input the dimensions from the outermost to the innermost; None for what is no tensor."""


def install() -> None:
    """Now if ExecuTorch's runtime is imported, else when it is. Idempotent; imports nothing."""
    module = sys.modules.get(_NAME)
    if module is not None:
        _wrap(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Waits for the import of ExecuTorch's runtime."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _wrap(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _wrap(module: Any) -> None:
    if getattr(module, _ORDERS, False):
        return
    try:
        load_program, load_method = module.Runtime.load_program, module.Program.load_method
        execute = module.Method.execute
    except AttributeError:  # not yet complete, or another version: nothing to hold on to
        return

    @functools.wraps(load_program)
    def loading(self: Any, data: Any, *args: Any, **kwargs: Any) -> Any:
        program = load_program(self, data, *args, **kwargs)
        held = getattr(program, "_data", None)
        setattr(program, _ORDERS, input_orders(held if isinstance(held, bytes) else data))
        return program

    @functools.wraps(load_method)
    def preparing(self: Any, name: str) -> Any:
        method = load_method(self, name)
        if method is not None:
            setattr(method, _ORDERS, getattr(self, _ORDERS, {}).get(name))
        return method

    @functools.wraps(execute)
    def executing(self: Any, inputs: Any) -> Any:
        orders = getattr(self, _ORDERS, None)
        if orders is not None and isinstance(inputs, (list, tuple)) and len(inputs) == len(orders):
            inputs = [_ordered(value, order) for value, order in zip(inputs, orders, strict=True)]
        return execute(self, inputs)

    module.Runtime.load_program = loading
    module.Program.load_method = preparing
    module.Method.execute = executing
    setattr(module, _ORDERS, True)


def _ordered(value: Any, order: tuple[int, ...] | None) -> Any:
    """A tensor in the order of the input that it is for; other values, and other ranks, unchanged."""
    if order is None or not is_torch(value) or str(value.layout) != "torch.strided" or value.dim() != len(order):
        return value
    value = value.resolve_conj().resolve_neg()
    if order == tuple(range(len(order))):
        return value.contiguous()
    if order == _CHANNELS_LAST:
        return value.contiguous(memory_format=sys.modules["torch"].channels_last)
    return value  # ExecuTorch takes no other order, and says so


# ---------------------------------------------------------------- the expectations of a program


def input_orders(source: Any) -> Orders:
    """The orders of the inputs of a `.pte` (bytes, or its path)."""
    try:
        if isinstance(source, bytes):
            return _orders(source)
        with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _orders(data)
    except (OSError, ValueError, TypeError, IndexError, struct.error):
        return {}  # ExecuTorch has taken the file: its faults are not for us to report


def _orders(data: Any) -> Orders:
    found: Orders = {}
    for plan in _tables(data, _u32(data, 0), _PLANS):
        values = _vector(data, plan, _VALUES)
        orders: list[tuple[int, ...] | None] = []
        for place in _vector(data, plan, _INPUTS):
            at = values[_u32(data, place)]
            orders.append(_order(data, at + _u32(data, at)))
        found[_bytes(data, plan, _PLAN_NAME).decode("utf-8", "replace")] = orders
    return found


def _order(data: Any, value: int) -> tuple[int, ...] | None:
    kind = _at(data, value, _VALUE_KIND)
    if kind is None or data[kind] != _TENSOR:
        return None
    tensor = _field(data, value, _VALUE)
    return None if tensor is None else tuple(_bytes(data, tensor, _DIM_ORDER))


# Numbers of fields, and of the kind of value that is a tensor, in executorch/exir/_serialize/program.fbs.
_PLANS = 1
_PLAN_NAME, _VALUES, _INPUTS = 0, 2, 3
_VALUE_KIND, _VALUE, _TENSOR = 0, 1, 5
_DIM_ORDER = 3


# A few lines of FlatBuffers.


def _u32(data: Any, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _at(data: Any, table: int, number: int) -> int | None:
    """Where a field of a table lies; None if the table has no such field."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset = int(struct.unpack_from("<H", data, vtable + slot)[0])
    return table + offset if offset else None


def _field(data: Any, table: int, number: int) -> int | None:
    """The place that a field refers to."""
    at = _at(data, table, number)
    return None if at is None else at + _u32(data, at)


def _vector(data: Any, table: int, number: int) -> range:
    """Where the elements of a vector of numbers or references lie."""
    vector = _field(data, table, number)
    return range(0) if vector is None else range(vector + 4, vector + 4 + 4 * _u32(data, vector), 4)


def _tables(data: Any, table: int, number: int) -> list[int]:
    return [place + _u32(data, place) for place in _vector(data, table, number)]


def _bytes(data: Any, table: int, number: int) -> bytes:
    at = _field(data, table, number)
    return b"" if at is None else bytes(data[at + 4 : at + 4 + _u32(data, at)])
