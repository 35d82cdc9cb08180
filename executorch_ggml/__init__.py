"""executorch-ggml: torch.export'ed models on ggml's kernels, with weights from any GGUF file.

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
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from executorch_ggml.analysis.to_edge import to_edge_rewrite_and_lower
    from executorch_ggml.aot.partitioner import GgmlPartitioner
    from executorch_ggml.aot.quantization import GgmlQuantConfig
    from executorch_ggml.llm.bind.export import export_with_gguf
    from executorch_ggml.llm.bind.load import load_gguf
    from executorch_ggml.llm.export import GGUFExportConfig, export_gguf_to_pte
    from executorch_ggml.llm.module import GGUFModule
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
    "export_gguf_to_pte": "llm.export",
    "export_with_gguf": "llm.bind.export",
    "load_gguf": "llm.bind.load",
    "register_backend": "runtime.register",
    "register_weights": "runtime.register",
    "to_edge_rewrite_and_lower": "analysis.to_edge",
}

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
    "UndelegatedError",
    "UnloadableError",
    "UnsupportedError",
    "ValueRangeError",
    "export_gguf_to_pte",
    "export_with_gguf",
    "load_gguf",
    "register_backend",
    "register_weights",
    "to_edge_rewrite_and_lower",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
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
        module = importlib.import_module(str(spec.origin))
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just given it the other name's spec.
        own = self.specs.pop(module.__spec__.name if module.__spec__ else "", None)
        if own is not None:
            module.__spec__ = own


sys.meta_path.insert(0, _Aliases())
