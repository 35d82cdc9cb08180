"""Rewrites of the ATen graph, run before decomposition.

`run_pre_decomposition` applies all of them; `GgmlPartitioner` calls it, so nobody has to. Each pass proves its pattern
(shapes, constants, the arithmetic on positions) and leaves alone what it cannot prove.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import is_functional
from .constants import fold_constants
from .cse import eliminate_common_subexpressions
from .remove_asserts import RemoveGraphAssertsPass, remove_asserts
from .rms_norm import fuse_rms_norm
from .rope import fuse_rope
from .simplify import simplify

__all__ = [
    "RemoveGraphAssertsPass",
    "eliminate_common_subexpressions",
    "fold_constants",
    "fuse_rms_norm",
    "fuse_rope",
    "remove_asserts",
    "run_pre_decomposition",
    "simplify",
]


def run_pre_decomposition(ep: ExportedProgram) -> ExportedProgram:
    """All rewrites, on a functional copy of the program.

    Args:
        ep: a program as `torch.export.export` returns it, or one that is functional already.

    Returns:
        A program with the same inputs, outputs, parameters and mutations. The argument is not changed.
    """
    # An empty table only makes the graph functional: no operator is decomposed that can be kept.
    ep = ep.run_decompositions({})
    assert is_functional(ep)
    remove_asserts(ep)
    simplify(ep)
    eliminate_common_subexpressions(ep)
    simplify(ep)
    fold_constants(ep)
    fuse_rms_norm(ep)
    fuse_rope(ep)
    simplify(ep)
    return ep
