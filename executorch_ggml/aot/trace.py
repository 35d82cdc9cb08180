"""``torch.export.export`` with errors that say which model it refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.errors import InvalidArgumentError

__all__ = ["traced"]


def traced(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], dynamic_shapes: Any, subject: str
) -> ExportedProgram:
    """The program of a module in eval mode, which it has only meanwhile.

    Raises InvalidArgumentError for any error of the module or the exporter; it begins with ``subject``.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        return torch.export.export(
            module.eval(), tuple(args), dict(kwargs), dynamic_shapes=dynamic_shapes, strict=False
        )
    except Exception as e:
        raise InvalidArgumentError(f"{subject}: torch.export refuses the model: {type(e).__name__}: {e}") from e
    finally:
        for part, mode in modes:
            part.training = mode
