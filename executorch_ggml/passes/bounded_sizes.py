"""Every size of an input has an upper bound, or lowering ends here.

Memory is planned before a program runs: ExecuTorch takes the example's size where there is no bound, and our loader
refuses the graph. Both come too late for the one who can declare it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from ..errors import UnsupportedError

_LIMIT = 2**31 - 1
"""ExecuTorch holds a size in 32 bits."""


def require_bounds(ep: ExportedProgram) -> None:
    """Checks the sizes of all arguments.

    Raises:
        UnsupportedError: one has no upper bound; the text names input, dimension and the cure.
    """
    arguments = {s.arg.name for s in ep.graph_signature.input_specs if s.kind is InputKind.USER_INPUT}
    sized: set[Any] | None = None
    for node in ep.graph.nodes:
        if node.op != "placeholder" or node.name not in arguments:
            continue
        val = node.meta.get("val")
        if isinstance(val, torch.Tensor):
            for dim, size in enumerate(val.shape):
                for symbol in _unbounded(ep, size):
                    raise UnsupportedError(
                        f"input {node.name!r}, dimension {dim} ({symbol}) has no upper bound; declare one when "
                        f"exporting: dynamic_shapes with torch.export.Dim({f'{node.name}_{dim}'!r}, max=...)"
                    )
        elif isinstance(val, torch.SymInt):
            if sized is None:
                sized = set(_symbols_of_sizes(ep))
            for symbol in _unbounded(ep, val):
                if symbol in sized:
                    raise UnsupportedError(
                        f"input {node.name!r} is a size of a tensor and has no upper bound; declare one when "
                        f"exporting: dynamic_shapes with torch.export.Dim({node.name!r}, max=...)"
                    )


def _unbounded(ep: ExportedProgram, size: Any) -> Iterator[Any]:
    if not isinstance(size, torch.SymInt):
        return
    for symbol in sorted(size.node.expr.free_symbols, key=str):
        found = ep.range_constraints.get(symbol)
        upper = getattr(found, "upper", None)
        if upper is None or not getattr(upper, "is_Integer", isinstance(upper, int)) or int(upper) > _LIMIT:
            yield symbol


def _symbols_of_sizes(ep: ExportedProgram) -> Iterator[Any]:
    for node in ep.graph.nodes:
        val = node.meta.get("val")
        for tensor in val if isinstance(val, (tuple, list)) else (val,):
            if isinstance(tensor, torch.Tensor):
                for size in tensor.shape:
                    if isinstance(size, torch.SymInt):
                        yield from size.node.expr.free_symbols
