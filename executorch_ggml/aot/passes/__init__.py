"""Rewrites of the ATen graph, run before decomposition.

`run_pre_decomposition` applies all of them; `GgmlPartitioner` calls it, so nobody has to. Each pass proves its pattern
(shapes, constants, the arithmetic on positions) and leaves the rest alone.

Projections that share an input (Q, K and V; gate and up) are not merged. On a CPU a merged weight would be a private
copy of most of the model beside the mapped file, and a matrix-vector product gains nothing from it. On a GPU merging
saves two of three launches. There the loader can concatenate the parts of a weight slot on upload.
"""

from __future__ import annotations

from torch.export import ExportedProgram

from executorch_ggml.aot import custom_ops as _custom_ops  # registers the operators that the passes emit
from executorch_ggml.aot import custom_ops_recurrent as _custom_ops_recurrent

from ._graph import is_functional
from .advanced_indexing import index_by_layout
from .attention import fuse_cached_attention
from .blocking import wait_for_copies
from .checked_indices import check_indices
from .circular_pads import expand_circular_pads
from .complex_pairs import complex_to_pairs
from .composites import expand_composites
from .constant_powers import use_constant_powers
from .cse import eliminate_common_subexpressions
from .diagonal_scatter import expand_diagonal_scatters
from .distinct_names import name_arguments_apart
from .empty_products import replace_empty_products
from .empty_tensors import replace_empty
from .float64_norms import expand_float64_norms
from .float_division import divide_floats
from .fold_batch_norm import BatchNormFoldingRewritePass, fold_batch_norm
from .fold_constants import fold_constants
from .fp16_scalars import widen_numbers
from .functional import make_functional
from .glu import fuse_glu
from .gqa import strip_gqa_expand
from .integer_arguments import refuse_dynamic_numbers
from .integer_buffers import keep_integers_visible
from .integer_division import divide_integers
from .integer_powers import expand_integer_powers
from .integer_sorts import sort_by_selection
from .integer_sums import add_up_integers
from .merge_aliases import merge_aliased_inputs
from .moe import fuse_experts
from .mutated_arguments import drop_argument_changes
from .named_pads import name_pads
from .negative_zeros import keep_negative_zeros
from .new_buffer_values import separate_new_values
from .plain_results import return_plain_results
from .promoted_operands import promote_operands
from .recurrent import expand_recurrent
from .remove_asserts import RemoveGraphAssertsPass, remove_asserts
from .repeat_interleave import expand_repeats
from .restore_ranges import restore_ranges
from .returned_constants import copy_returned_constants
from .rms_norm import fuse_rms_norm
from .rope import fuse_rope
from .row_major import use_row_major, use_row_major_edge
from .scalar_types import type_numbers
from .scaled_sums import write_scaled_sums
from .select_by_value import select_by_value
from .signs import compare_for_signs
from .simplify import simplify
from .split_slices import split_by_slices
from .tabulate import tabulate
from .written_attention import recognise_attention
from .written_types import convert_written

__all__ = [
    "BatchNormFoldingRewritePass",
    "RemoveGraphAssertsPass",
    "add_up_integers",
    "check_indices",
    "compare_for_signs",
    "complex_to_pairs",
    "convert_written",
    "copy_returned_constants",
    "divide_floats",
    "divide_integers",
    "drop_argument_changes",
    "eliminate_common_subexpressions",
    "expand_circular_pads",
    "expand_composites",
    "expand_diagonal_scatters",
    "expand_float64_norms",
    "expand_integer_powers",
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
    "keep_negative_zeros",
    "make_functional",
    "merge_aliased_inputs",
    "name_arguments_apart",
    "name_pads",
    "promote_operands",
    "recognise_attention",
    "refuse_dynamic_numbers",
    "remove_asserts",
    "replace_empty",
    "replace_empty_products",
    "restore_ranges",
    "return_plain_results",
    "run_pre_decomposition",
    "run_required",
    "select_by_value",
    "separate_new_values",
    "simplify",
    "sort_by_selection",
    "split_by_slices",
    "strip_gqa_expand",
    "tabulate",
    "type_numbers",
    "use_constant_powers",
    "use_row_major",
    "use_row_major_edge",
    "wait_for_copies",
    "widen_numbers",
    "write_scaled_sums",
]

assert _custom_ops
assert _custom_ops_recurrent


def _functional(ep: ExportedProgram) -> ExportedProgram:
    """A functional copy, with row-major tensors and the model's own results."""
    restore_ranges(ep)
    refuse_dynamic_numbers(ep)
    ep = make_functional(ep)
    use_row_major(ep)
    wait_for_copies(ep)
    drop_argument_changes(ep)
    return ep


def run_required(ep: ExportedProgram) -> ExportedProgram:
    """Only the rewrites that a program needs to be right, on a functional copy; for ``rewrites=False``."""
    ep = _functional(ep)
    return_plain_results(ep)
    if is_functional(ep):
        rewrites = (
            expand_recurrent,
            replace_empty_products,
            replace_empty,
            expand_float64_norms,
            expand_composites,
            promote_operands,
            convert_written,
            select_by_value,
            check_indices,
            expand_integer_powers,
            write_scaled_sums,
            compare_for_signs,
            divide_integers,
            divide_floats,
            add_up_integers,
            sort_by_selection,
            copy_returned_constants,
            widen_numbers,
            type_numbers,
            keep_negative_zeros,
        )
        for rewrite in rewrites:
            rewrite(ep)
        separate_new_values(ep)
    return ep


def run_pre_decomposition(ep: ExportedProgram, external: bool = False) -> ExportedProgram:
    """All rewrites, on a functional copy of the program.

    Args:
        ep: a program as `torch.export.export` returns it, or one that is functional already.
        external: a file brings the parameters at load time: nothing is computed from their present data.

    Returns:
        A program with the same inputs, outputs, parameters and mutations. The argument is not changed.
    """
    ep = _functional(ep)
    if not is_functional(ep):  # control flow: its branches are not ours to rewrite
        return ep
    keep_integers_visible(ep)
    return_plain_results(ep)
    remove_asserts(ep)
    expand_recurrent(ep)
    replace_empty_products(ep)
    replace_empty(ep)
    expand_float64_norms(ep)
    expand_composites(ep)
    promote_operands(ep)
    convert_written(ep)
    select_by_value(ep)
    complex_to_pairs(ep)
    use_constant_powers(ep)
    simplify(ep)
    eliminate_common_subexpressions(ep)
    simplify(ep)
    if not external:
        fold_batch_norm(ep)
    fold_constants(ep, stored=not external)
    index_by_layout(ep)
    tabulate(ep)
    fuse_rms_norm(ep)
    fuse_rope(ep)
    recognise_attention(ep)
    strip_gqa_expand(ep)
    fuse_cached_attention(ep)
    expand_repeats(ep)
    expand_circular_pads(ep)
    name_pads(ep)
    expand_diagonal_scatters(ep)
    fuse_glu(ep)
    fuse_experts(ep)
    split_by_slices(ep)
    check_indices(ep)
    expand_integer_powers(ep)
    write_scaled_sums(ep)
    compare_for_signs(ep)
    divide_integers(ep)
    divide_floats(ep)
    add_up_integers(ep)
    sort_by_selection(ep)
    simplify(ep)
    eliminate_common_subexpressions(ep)
    copy_returned_constants(ep)
    widen_numbers(ep)
    type_numbers(ep)
    keep_negative_zeros(ep)
    separate_new_values(ep)  # last: to the others a copy is superfluous
    return ep
