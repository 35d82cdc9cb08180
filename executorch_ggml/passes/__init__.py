"""Rewrites of the ATen graph, run before decomposition.

`run_pre_decomposition` applies all of them; `GgmlPartitioner` calls it, so nobody has to. Each pass proves its pattern
(shapes, constants, the arithmetic on positions) and leaves alone what it cannot prove.

Projections that share an input (Q, K and V; gate and up) are not merged. In memory of a CPU a merged weight would be
a private copy of most of the model beside the mapped file, and a matrix-vector product gains nothing from it; where
merging pays (one kernel launch instead of three), the loader can concatenate the parts of a weight slot on upload.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from .. import custom_ops as _custom_ops  # registers the operators that the passes emit
from .. import custom_ops_recurrent as _custom_ops_recurrent
from ._graph import is_functional
from .attention import fuse_cached_attention
from .circular_pads import expand_circular_pads
from .constants import fold_constants
from .cse import eliminate_common_subexpressions
from .experts import fuse_experts
from .fold_batch_norm import BatchNormFoldingRewritePass, fold_batch_norm
from .glu import fuse_glu
from .gqa import strip_gqa_expand
from .index_positions import index_by_layout
from .integer_buffers import keep_integers_visible
from .merge_aliases import merge_aliased_inputs
from .named_pads import name_pads
from .plain_results import return_plain_results
from .recurrent import expand_recurrent
from .remove_asserts import RemoveGraphAssertsPass, remove_asserts
from .repeat_entries import expand_repeats
from .restore_ranges import restore_ranges
from .rms_norm import fuse_rms_norm
from .rope import fuse_rope
from .simplify import simplify
from .split_slices import split_by_slices
from .tabulate import tabulate

__all__ = [
    "BatchNormFoldingRewritePass",
    "RemoveGraphAssertsPass",
    "eliminate_common_subexpressions",
    "expand_circular_pads",
    "expand_recurrent",
    "expand_repeats",
    "fold_batch_norm",
    "fold_constants",
    "fuse_cached_attention",
    "fuse_experts",
    "fuse_glu",
    "fuse_rms_norm",
    "fuse_rope",
    "index_by_layout",
    "keep_integers_visible",
    "merge_aliased_inputs",
    "name_pads",
    "remove_asserts",
    "restore_ranges",
    "return_plain_results",
    "run_pre_decomposition",
    "simplify",
    "split_by_slices",
    "strip_gqa_expand",
    "tabulate",
]

assert _custom_ops
assert _custom_ops_recurrent


def run_pre_decomposition(ep: ExportedProgram) -> ExportedProgram:
    """All rewrites, on a functional copy of the program.

    Args:
        ep: a program as `torch.export.export` returns it, or one that is functional already.

    Returns:
        A program with the same inputs, outputs, parameters and mutations. The argument is not changed.
    """
    restore_ranges(ep)
    ep = merge_aliased_inputs(ep)
    # An empty table only makes the graph functional: no operator is decomposed that can be kept.
    ep = ep.run_decompositions({})
    if not is_functional(ep):  # control flow: its branches are not ours to rewrite
        return ep
    keep_integers_visible(ep)
    return_plain_results(ep)
    remove_asserts(ep)
    expand_recurrent(ep)
    simplify(ep)
    eliminate_common_subexpressions(ep)
    simplify(ep)
    fold_batch_norm(ep)
    fold_constants(ep)
    index_by_layout(ep)
    tabulate(ep)
    fuse_rms_norm(ep)
    fuse_rope(ep)
    strip_gqa_expand(ep)
    fuse_cached_attention(ep)
    expand_repeats(ep)
    expand_circular_pads(ep)
    name_pads(ep)
    fuse_glu(ep)
    fuse_experts(ep)
    split_by_slices(ep)
    simplify(ep)
    eliminate_common_subexpressions(ep)
    return ep
