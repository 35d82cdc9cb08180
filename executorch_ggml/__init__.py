"""executorch-ggml: torch.export'ed models on ggml's kernels, with weights from any GGUF file.

Text from a GGUF of a known architecture. Exporting needs torch, running does not:

    from executorch_ggml import GGUFModule, export_gguf_to_pte
    export_gguf_to_pte("model.gguf", "model.pte")
    with GGUFModule("model.pte", "model.gguf") as module:
        for piece in module.generate("In the beginning", max_tokens=16):
            print(piece, end="", flush=True)

A module of your own. Parameters named as the tensors of a GGUF come from it with ``export_with_gguf``:

    import torch
    from executorch_ggml import to_edge_rewrite_and_lower
    model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 10)).eval()
    inputs = (torch.randn(1, 64),)
    lowered = to_edge_rewrite_and_lower(torch.export.export(model, inputs))
    with open("mlp.pte", "wb") as file:
        file.write(lowered.to_executorch().buffer)

Any `.pte`, without torch:

    import numpy
    from executorch_ggml import Program
    with Program("mlp.pte") as program:
        (scores,) = program(numpy.zeros((1, 64), numpy.float32))

Questions about a model, a `.pte` and this machine:

    import executorch_ggml
    print(executorch_ggml.explain(model, inputs))           # which operators run on ggml, and why others do not
    print(executorch_ggml.diff(model, inputs))              # the first operation that differs from eager
    print(executorch_ggml.check("model.pte", "model.gguf"))  # do these weights fit this graph
    print(executorch_ggml.devices())                        # what a Program can run on

Text as token ids, and back:

    from executorch_ggml import Tokenizer
    ids = Tokenizer.from_gguf("model.gguf").encode("In the beginning")

Every error is a ``GgmlError``; ``help("executorch_ggml.errors")`` lists them. The pages are in docs/.

Names are imported on first use. Importing this package loads neither torch nor the native library. The runtime side
(`Program`, `GGUFFile`) never imports torch. The ahead-of-time side (`GgmlPartitioner`) never loads the native library.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import logging
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from executorch_ggml.errors import (
    AudioError,
    BindError,
    BusyError,
    CancelledError,
    DeviceError,
    DtypeError,
    FileError,
    FormatError,
    GgmlError,
    InternalError,
    InvalidArgumentError,
    LibraryError,
    LoweringError,
    MismatchError,
    OutOfMemoryError,
    ShapeError,
    UndelegatedError,
    UnloadableError,
    UnsupportedError,
    ValueRangeError,
)
from executorch_ggml.errors.torch_missing import torch_missing

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from executorch_ggml.analysis.diff import diff
    from executorch_ggml.analysis.explain import explain
    from executorch_ggml.analysis.to_edge import to_edge_rewrite_and_lower
    from executorch_ggml.aot.partitioner import GgmlPartitioner
    from executorch_ggml.aot.quantization import GgmlQuantConfig
    from executorch_ggml.llm.bind.export import export_with_gguf
    from executorch_ggml.llm.bind.load import load_gguf
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
    from executorch_ggml.llm.module import GGUFModule
    from executorch_ggml.llm.text.tokenizer import Tokenizer
    from executorch_ggml.runtime.check import check
    from executorch_ggml.runtime.devices import devices
    from executorch_ggml.runtime.gguf_file import GGUFFile
    from executorch_ggml.runtime.program import Program
    from executorch_ggml.runtime.register import register_backend, register_weights

__version__ = "0.1.0"

# Without a handler of its own, a logger's warnings go to stderr. A library stays silent until asked.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_EXPORTS = {
    "GGUFExportConfig": "llm.export",
    "GGUFFile": "runtime.gguf_file",
    "GGUFModule": "llm.module",
    "GgmlPartitioner": "aot.partitioner",
    "GgmlQuantConfig": "aot.quantization",
    "Program": "runtime.program",
    "Tokenizer": "llm.text.tokenizer",
    "export_gguf_to_pte": "llm.export",
    "export_with_gguf": "llm.bind.export",
    "load_gguf": "llm.bind.load",
    "register_backend": "runtime.register",
    "register_weights": "runtime.register",
    "to_edge_rewrite_and_lower": "analysis.to_edge",
}

_CALLABLE = {
    "check": "runtime.check",
    "devices": "runtime.devices",
    "diff": "analysis.diff",
    "explain": "analysis.explain",
}
"""Modules that are called like their function of the same name, so ``check(...)`` and ``check.Report`` both work.

A function beside a module of its name would not do: importing the module would put it in the function's place.
"""

_ALIASES = {
    **{name: f"aot.{name}" for name in ("custom_ops", "lower", "ops", "partitioner", "passes", "program_view")},
    **{name: f"analysis.{name}" for name in ("diff", "explain", "model_file", "reference", "verify")},
    **{name: f"runtime.{name}" for name in ("_abi", "_load", "check", "devices", "program", "types")},
    "_ggml_ir": "ir._ggml_ir",
    "analyzer": "gguf.summary",
    "export_gguf": "llm.export",
    "gguf_module": "llm.module",
    "host": "runtime.register",
    "models": "llm.decoder",
    "models.header": "gguf.header",
    "quantization": "aot.quantization",
    "speech.gguf_writer": "gguf.writer",
    "text": "llm.text",
}
"""Shorter names of modules, and those that they had before the package had rooms. Both names give one module."""

__all__ = [
    "AudioError",
    "BindError",
    "BusyError",
    "CancelledError",
    "DeviceError",
    "DtypeError",
    "FileError",
    "FormatError",
    "GGUFExportConfig",
    "GGUFFile",
    "GGUFModule",
    "GgmlError",
    "GgmlPartitioner",
    "GgmlQuantConfig",
    "InternalError",
    "InvalidArgumentError",
    "LibraryError",
    "LoweringError",
    "MismatchError",
    "OutOfMemoryError",
    "Program",
    "ShapeError",
    "Tokenizer",
    "UndelegatedError",
    "UnloadableError",
    "UnsupportedError",
    "ValueRangeError",
    "check",
    "devices",
    "diff",
    "explain",
    "export_gguf_to_pte",
    "export_with_gguf",
    "load_gguf",
    "register_backend",
    "register_weights",
    "to_edge_rewrite_and_lower",
]


class _Callable(ModuleType):
    """A module that is called like its function of the same name (``_CALLABLE``)."""

    @property
    def _function(self) -> Callable[..., Any]:
        return cast("Callable[..., Any]", vars(self)[self.__name__.rpartition(".")[2]])

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        return inspect.signature(self._function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


def _room(room: str) -> ModuleType:
    try:
        module = importlib.import_module(f"{__name__}.{room}")
    except ModuleNotFoundError as error:
        if error.name == "torch":
            raise torch_missing() from error
        raise
    if room in _CALLABLE.values():
        module.__class__ = _Callable
    return module


def __getattr__(name: str) -> Any:
    if name in _CALLABLE:
        value: Any = _room(_CALLABLE[name])
    elif name in _EXPORTS:
        value = getattr(_room(_EXPORTS[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    # help() loads every name that it hears of, through inspect.getmembers. It hears of no errors, which fill pages
    # and have a page of their own, and of no name that imports torch.
    if sys._getframe(1).f_globals.get("__name__") == "inspect":
        return sorted(
            name for name, room in _EXPORTS.items() if not room.startswith(("aot.", "analysis.", "llm.bind."))
        )
    return sorted({*globals(), *__all__})


class _Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a module by its other name (``_ALIASES``), also its submodules (``executorch_ggml.text.chat``)."""

    def __init__(self) -> None:
        longest_first = sorted(_ALIASES.items(), reverse=True)
        self.rooms = {f"{__name__}.{old}": f"{__name__}.{room}" for old, room in longest_first}
        self.specs: dict[str, Any] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        for old, room in self.rooms.items() if name.startswith(__name__) else ():
            if name == old or name.startswith(f"{old}."):
                return importlib.machinery.ModuleSpec(name, self, origin=room + name[len(old) :])
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = _room(str(spec.origin).removeprefix(f"{__name__}."))
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just given it the other name's spec.
        own = self.specs.pop(module.__spec__.name if module.__spec__ else "", None)
        if own is not None:
            module.__spec__ = own


sys.meta_path.insert(0, _Aliases())
