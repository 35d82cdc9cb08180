"""Arguments of ExecuTorch's own Python runtime in row-major order.

`executorch.runtime.Method.execute` (1.5.1) copies the memory of a tensor and forgets its layout: an image in channels-last
given to a program that takes row-major images is read in the wrong order, without a word. A method with a delegate of
ours takes row-major tensors only, so its arguments are made so here. Methods without one are left alone.
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

from executorch_ggml._arrays import is_torch

_NAME = "executorch.runtime"
_BACKEND = b"GgmlBackend"
_MARK = "_row_major_arguments"


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
    if getattr(module, _MARK, False):
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
        setattr(program, _MARK, delegated_methods(held if isinstance(held, bytes) else data))
        return program

    @functools.wraps(load_method)
    def preparing(self: Any, name: str) -> Any:
        method = load_method(self, name)
        if name in getattr(self, _MARK, ()):
            setattr(method, _MARK, True)
        return method

    @functools.wraps(execute)
    def executing(self: Any, inputs: Any) -> Any:
        if getattr(self, _MARK, False) and isinstance(inputs, (list, tuple)):
            inputs = [_row_major(value) for value in inputs]
        return execute(self, inputs)

    module.Runtime.load_program = loading
    module.Program.load_method = preparing
    module.Method.execute = executing
    setattr(module, _MARK, True)


def _row_major(value: Any) -> Any:
    if not is_torch(value) or str(value.layout) != "torch.strided":
        return value
    return value.resolve_conj().resolve_neg().contiguous()


# ---------------------------------------------------------------- which methods are ours


def delegated_methods(source: Any) -> frozenset[str]:
    """Names of the methods of a `.pte` (bytes, or its path) that have a delegate of ours."""
    try:
        if isinstance(source, bytes):
            return _methods(source)
        with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _methods(data)
    except (OSError, ValueError, TypeError, IndexError, struct.error):
        return frozenset()  # ExecuTorch has taken the file and says what is wrong with it


def _methods(data: Any) -> frozenset[str]:
    found = set()
    root = _u32(data, 0)
    for plan in _tables(data, root, 1):
        ids = [_text(data, delegate, 0) for delegate in _tables(data, plan, 7)]
        if _BACKEND in ids:
            found.add(_text(data, plan, 0).decode("utf-8", "replace"))
    return frozenset(found)


# A few lines of FlatBuffers: tables by the numbers of their fields in executorch/exir/_serialize/program.fbs.


def _u32(data: Any, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _field(data: Any, table: int, number: int) -> int | None:
    """Where what a field refers to lies; None if the table has no such field."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    slot = 4 + 2 * number
    if slot >= struct.unpack_from("<H", data, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", data, vtable + slot)[0]
    if offset == 0:
        return None
    return table + int(offset) + _u32(data, table + offset)


def _tables(data: Any, table: int, number: int) -> list[int]:
    vector = _field(data, table, number)
    if vector is None:
        return []
    places = range(vector + 4, vector + 4 + 4 * _u32(data, vector), 4)
    return [place + _u32(data, place) for place in places]


def _text(data: Any, table: int, number: int) -> bytes:
    at = _field(data, table, number)
    return b"" if at is None else bytes(data[at + 4 : at + 4 + _u32(data, at)])
