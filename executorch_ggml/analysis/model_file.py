"""A model to look at, from a file: a Python file that defines it, or a program that ``torch.export.save`` wrote.

A Python file defines, under these names, values or functions without arguments that return them:

    model = Net()                                        # an nn.Module
    example_inputs = (torch.randn(1, 8),)                # a tuple
    example_kwargs = {"mask": None}                      # optional
    dynamic_shapes = {"x": {0: torch.export.Dim("n")}}   # optional, as in torch.export.export
    partitioner = GgmlPartitioner(quant=...)             # optional: the options of the real export
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.errors import FileError, FormatError, InvalidArgumentError


@dataclass(frozen=True)
class ModelFile:
    """The contents of a model file.

    Attributes:
        program: the exported ATen program.
        args, kwargs: its example inputs.
        partitioner: the file's own, None when it has none.
    """

    program: ExportedProgram
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    partitioner: Any = None


def load_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Reads a ``.py`` (which is executed) or a ``.pt2``.

    Raises:
        FileError: there is no such file.
        FormatError: a ``.pt2`` that torch cannot read.
        InvalidArgumentError: another kind of file, a missing or wrong definition, or no example inputs. Also an
            exception in the file itself, or a model that torch.export refuses. The text says which.
    """
    file = Path(path)
    if not file.is_file():
        raise FileError(f"{file}: no such file")
    if file.suffix == ".pt2":
        return _exported(file)
    if file.suffix == ".py":
        return _python(file)
    raise InvalidArgumentError(f"{file}: neither a .py nor a .pt2")


def _exported(file: Path) -> ModelFile:
    try:
        program = torch.export.load(file)
    except Exception as e:  # torch raises any error of its reader
        raise FormatError(f"{file}: not a program that torch.export.save wrote: {e}") from e
    if program.example_inputs is None:
        raise InvalidArgumentError(f"{file} has no example inputs")
    args, kwargs = program.example_inputs
    return ModelFile(program, tuple(args), dict(kwargs))


def _python(file: Path) -> ModelFile:
    module = _execute(file)
    model = _definition(module, file, "model", torch.nn.Module)
    args = _definition(module, file, "example_inputs", (tuple, list))
    kwargs = _definition(module, file, "example_kwargs", Mapping, {})
    shapes = _definition(module, file, "dynamic_shapes", (tuple, list, Mapping), None)
    partitioner = _definition(module, file, "partitioner", object, None)
    try:
        program = torch.export.export(model.eval(), tuple(args), dict(kwargs), dynamic_shapes=shapes, strict=False)
    except Exception as e:  # any error of the model or the exporter
        raise InvalidArgumentError(f"{file}: torch.export refuses the model: {type(e).__name__}: {e}") from e
    return ModelFile(program, tuple(args), dict(kwargs), partitioner)


def _execute(file: Path) -> ModuleType:
    name = f"_executorch_ggml_model_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a module up by its name
    sys.path.insert(0, str(file.resolve().parent))  # as for a script: it may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        raise InvalidArgumentError(f"{file}: {type(e).__name__}: {e}") from e
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


_MISSING = object()


def _definition(module: ModuleType, file: Path, name: str, kind: Any, default: Any = _MISSING) -> Any:
    value = getattr(module, name, _MISSING)
    if value is _MISSING:
        if default is _MISSING:
            raise InvalidArgumentError(f"{file} does not define {name!r}: a value, or a function that returns it")
        return default
    if inspect.isfunction(value):  # modules and partitioners can be called as well
        try:
            value = value()
        except Exception as e:
            raise InvalidArgumentError(f"{file}: {name}(): {type(e).__name__}: {e}") from e
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{file}: {name!r} is of type {type(value).__name__}")
    return value
