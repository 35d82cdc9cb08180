"""executorch-ggml: torch.export'ed models on ggml's kernels, with weights from any GGUF file.

Names are imported on first use: importing this package loads neither torch nor the native library, using the runtime
half (`Program`, `GGUFFile`) never imports torch, and using the ahead-of-time half (`GgmlPartitioner`) never loads the
native library.
"""

from __future__ import annotations

import importlib
import logging
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
    from executorch_ggml.export_gguf import GGUFExportConfig, export_gguf_to_pte
    from executorch_ggml.gguf import GGUFFile
    from executorch_ggml.gguf_module import GGUFModule
    from executorch_ggml.host import register_backend, register_weights
    from executorch_ggml.partitioner import GgmlPartitioner
    from executorch_ggml.program import Program
    from executorch_ggml.quantization import GgmlQuantConfig
    from executorch_ggml.to_edge import to_edge_rewrite_and_lower

__version__ = "0.1.0"

# Without a handler of its own, a logger's warnings go to stderr. A library stays silent until asked.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_EXPORTS = {
    "GGUFExportConfig": "export_gguf",
    "GGUFFile": "gguf",
    "GGUFModule": "gguf_module",
    "GgmlPartitioner": "partitioner",
    "GgmlQuantConfig": "quantization",
    "Program": "program",
    "export_gguf_to_pte": "export_gguf",
    "register_backend": "host",
    "register_weights": "host",
    "to_edge_rewrite_and_lower": "to_edge",
}

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
