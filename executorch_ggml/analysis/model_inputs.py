"""Arguments of a model in the order and form that the runtime takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram


def flat_inputs(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> list[Any]:
    """Inputs in the order in which the `.pte` takes them."""
    from torch.export._tree_utils import reorder_kwargs
    from torch.utils import _pytree as pytree

    named = dict(kwargs or {})
    spec = program.call_spec.in_spec
    if named and spec is not None:
        named = reorder_kwargs(named, spec)
    return pytree.tree_leaves((tuple(args), named))


def as_input(value: Any) -> Any:
    """An argument as the library takes it."""
    if value is None:
        return 0  # an argument that is always None takes anything
    return value.contiguous() if isinstance(value, torch.Tensor) else value
