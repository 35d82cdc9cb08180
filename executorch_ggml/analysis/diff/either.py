"""diff(): compares a model with eager, or a `.pte` with the interpreter of its graphs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.errors import InvalidArgumentError

from .model import diff_model
from .pte import diff_pte
from .report import DiffReport


def diff(
    model: ExportedProgram | torch.nn.Module | str | os.PathLike[str],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    partitioner: Any = None,
    gguf: str | os.PathLike[str] | None = None,
    nmse: float | None = None,
    peak: float | None = None,
    threads: int | None = None,
) -> DiffReport:
    """Finds the first operation over tolerance: of a model against eager torch, of a `.pte` against an interpreter.

    Args:
        model: an exported ATen program, a module, or the path of a `.pte`.
        args: inputs; without them the program's example inputs, or random ones for a `.pte`.
        kwargs: a model's inputs given by name.
        dynamic_shapes: for a module, as in ``torch.export.export``.
        partitioner: for a model, a ``GgmlPartitioner`` with the options of the real export.
        gguf: the file that brings the weights.
        nmse: how much is allowed; the default follows the types.
        peak: likewise.
        threads: compute threads of the library.

    Raises:
        InvalidArgumentError: an option of models for a `.pte`; all that ``diff_model`` and ``diff_pte`` refuse.
    """
    if not isinstance(model, (str, os.PathLike)):
        return diff_model(
            model,
            args,
            kwargs,
            dynamic_shapes=dynamic_shapes,
            partitioner=partitioner,
            nmse=nmse,
            peak=peak,
            threads=threads,
            gguf=gguf,
        )
    for_models = {"kwargs": kwargs, "dynamic_shapes": dynamic_shapes, "partitioner": partitioner}
    if wrong := [name for name, value in for_models.items() if value is not None]:
        raise InvalidArgumentError(f"{os.fspath(model)}: {', '.join(wrong)} goes with a model, not with a .pte")
    return diff_pte(model, args, gguf=gguf, nmse=nmse, peak=peak, threads=threads)
