"""A model to look at, from a file: a Python file that defines it, or a program that ``torch.export.save`` wrote.

A Python file defines, under these names, values or functions without arguments that return them:

    model = Net()                                        # an nn.Module
    example_inputs = (torch.randn(1, 8),)                # a tuple
    example_kwargs = {"mask": None}                      # optional
    dynamic_shapes = {"x": {0: torch.export.Dim("n")}}   # optional, as in torch.export.export
    partitioner = GgmlPartitioner(quant=...)             # optional: the options of the real export
    names, own, expect = "hf", ["*.lora_*"], "auto"      # optional: with a GGUF, as in export_with_gguf
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.aot.trace import traced
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


@dataclass(frozen=True)
class Definition:
    """The definitions of a Python file.

    Attributes:
        file: the file.
        module: the model, in eval mode.
        args, kwargs: example inputs.
        dynamic_shapes, partitioner: None if missing.
        binding: ``names``, ``own`` and ``expect``, as far as they are defined: keywords of ``export_with_gguf``.
    """

    file: Path
    module: torch.nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    dynamic_shapes: Any = None
    partitioner: Any = None
    binding: Mapping[str, Any] = field(default_factory=dict)

    def export(self, module: torch.nn.Module | None = None) -> ExportedProgram:
        """The exported program of the model, or of a copy of it. Raises InvalidArgumentError if torch refuses it."""
        return traced(module or self.module, self.args, self.kwargs, self.dynamic_shapes, str(self.file))


def load_definition(path: str | os.PathLike[str]) -> Definition:
    """Executes a ``.py`` and reads its definitions.

    Raises:
        FileError: there is no such file.
        InvalidArgumentError: no ``.py``, a missing or wrong definition, or an exception in the file.
    """
    file = Path(path)
    if not file.is_file():
        raise FileError(f"{file}: no such file")
    if file.suffix != ".py":
        raise InvalidArgumentError(f"{file}: a GGUF goes with a .py that defines the module")
    return _definitions(file)


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


def _definitions(file: Path) -> Definition:
    module = _execute(file)
    kinds = {"names": object, "own": (tuple, list, set), "expect": object}
    binding = {name: _definition(module, file, name, kind, _MISSING_TOO, call=False) for name, kind in kinds.items()}
    return Definition(
        file=file,
        module=_definition(module, file, "model", torch.nn.Module).eval(),
        args=tuple(_definition(module, file, "example_inputs", (tuple, list))),
        kwargs=dict(_definition(module, file, "example_kwargs", Mapping, {})),
        dynamic_shapes=_definition(module, file, "dynamic_shapes", (tuple, list, Mapping), None),
        partitioner=_definition(module, file, "partitioner", object, None),
        binding={name: value for name, value in binding.items() if value is not _MISSING_TOO},
    )


def _python(file: Path) -> ModelFile:
    found = _definitions(file)
    return ModelFile(found.export(), found.args, found.kwargs, found.partitioner)


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


_MISSING, _MISSING_TOO = object(), object()


def _definition(
    module: ModuleType, file: Path, name: str, kind: Any, default: Any = _MISSING, *, call: bool = True
) -> Any:
    value = getattr(module, name, _MISSING)
    if value is _MISSING:
        if default is _MISSING:
            raise InvalidArgumentError(f"{file} does not define {name!r}: a value, or a function that returns it")
        return default
    if call and inspect.isfunction(value):  # modules and partitioners can be called as well
        try:
            value = value()
        except Exception as e:
            raise InvalidArgumentError(f"{file}: {name}(): {type(e).__name__}: {e}") from e
    if not isinstance(value, kind):
        raise InvalidArgumentError(f"{file}: {name!r} is of type {type(value).__name__}")
    return value
