"""For programs that run our `.pte` files in ExecuTorch's own runtime (`executorch.runtime`, `TextLLMRunner`).

import executorch_ggml.runtime.register
executorch_ggml.register_backend()
executorch_ggml.register_weights("model.gguf")      # unless the .pte holds its weights
program = executorch.runtime.Runtime.get().load_program("model.pte")
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from executorch_ggml.errors import InvalidArgumentError

from . import _load
from . import stock_runtime as _stock_runtime
from .gguf_file import GGUFFile

WEIGHTS_VARIABLE = "EXECUTORCH_GGML_WEIGHTS"


def register_backend() -> Path:
    """Registers "GgmlBackend" with the ExecuTorch runtime of this process; returns the library's path. Idempotent.

    From then on `executorch.runtime` gets its arguments in the memory order that a program expects. It copies memory
    and ignores strides, so it would read an image in channels-last in the wrong order.
    """
    path = _load.library_path()
    _stock_runtime.install()
    return path


def register_weights(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
    """Files in which the backend looks for weights that neither the caller nor the `.pte` provides, from now on.

    Replaces the files of an earlier call; an empty list forgets them. They go into the environment variable
    EXECUTORCH_GGML_WEIGHTS, separated as in PATH, so child processes see them too. Each is opened once here, so that a
    bad file is an error now (FileError, FormatError, ...) and not when a program is loaded.
    """
    register_backend()
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    absolute = [os.path.abspath(os.fspath(path)) for path in given]
    for path in absolute:
        if os.pathsep in path:
            raise InvalidArgumentError(f"{path}: the path contains {os.pathsep!r}, which separates the paths of a list")
        GGUFFile(path).close()
    if absolute:
        os.environ[WEIGHTS_VARIABLE] = os.pathsep.join(absolute)
    else:
        os.environ.pop(WEIGHTS_VARIABLE, None)
