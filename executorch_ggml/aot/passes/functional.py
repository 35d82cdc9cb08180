"""A program without mutation, in which buffers that change are told apart from everything else."""

from __future__ import annotations

from torch.export import ExportedProgram

from ._graph import is_functional
from .merge_aliases import merge_aliased_inputs
from .new_buffer_values import copy_what_is_written, separate_new_values
from .state_buffers import refuse_overlaps, settle_state_buffers


def make_functional(ep: ExportedProgram) -> ExportedProgram:
    """A functional copy of a program as ``torch.export.export`` returns it; with control flow, as torch makes it.

    torch makes programs functional several times on the way to ExecuTorch. Forms that it cannot take the second time
    are changed here once: views of old values, one node as two results, buffers in other layouts.

    Raises:
        InvalidArgumentError: the program changes a buffer that shares memory with another one.
    """
    ep = merge_aliased_inputs(ep)
    refuse_overlaps(ep)
    # An empty table only makes the graph functional: no operator is decomposed that can be kept.
    result: ExportedProgram = copy_what_is_written(ep).run_decompositions({})
    if is_functional(result):
        settle_state_buffers(result)
        separate_new_values(result)
    return result
