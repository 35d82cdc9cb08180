"""The CPU kernels that ExecuTorch 1.5 brings. Nodes outside our delegates run on them.

ExecuTorch's own Runtime and our ``Program`` load the same library of kernels (``libexecutorch_kernels_optimized``).
A ``.pte`` that needs another kernel is written without a word and cannot be loaded. The ahead-of-time half loads no
native library, so the names are listed here; ``tests/aot/test_loadable.py`` holds them against the library.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.fx import Node

from .integer_bounds import size_bounds
from .node_view import overload_of

# Overloads by operator: "add:Scalar_out,out" is add.Scalar_out and add.out, a name alone is name.out, "-" no overload.
_KERNELS = {
    "aten": """
        _adaptive_avg_pool2d _cdist_forward _conj_physical _fft_c2r _fft_r2c _local_scalar_dense:- _log_softmax
        _native_batch_norm_legit:no_stats_out,out _native_batch_norm_legit_no_training _pdist_forward _softmax _to_copy
        _upsample_bilinear2d_aa abs acos acosh add:Scalar_out,out addmm alias_copy amax amin any:all_out,dims_out,out
        arange:out,start_out argmax argmin as_strided_copy asin asinh atan atan2 atanh avg_pool2d
        bitwise_and:Scalar_out,Tensor_out bitwise_left_shift:Tensor_Scalar_out,Tensor_out bitwise_not
        bitwise_or:Scalar_out,Tensor_out bitwise_right_shift:Tensor_Scalar_out,Tensor_out
        bitwise_xor:Scalar_out,Tensor_out bmm cat ceil clamp:Tensor_out,out clone constant_pad_nd convolution
        convolution_backward copy copy_:- cos cosh cumsum detach_copy diagonal_copy
        div:Scalar_mode_out,Scalar_out,out,out_mode elu embedding empty eq:Scalar_out,Tensor_out erf exp expand_copy
        expm1 fill:Scalar_out,Tensor_out flip floor floor_divide fmod:Scalar_out,Tensor_out full full_like gather
        ge:Scalar_out,Tensor_out gelu glu grid_sampler_2d gt:Scalar_out,Tensor_out hardtanh index:Tensor_out index_put
        index_put_:- index_select isinf isnan le:Scalar_out,Tensor_out leaky_relu lift_fresh_copy linear log log10 log1p
        log2 logical_and logical_not logical_or logical_xor logit lt:Scalar_out,Tensor_out masked_fill:Scalar_out
        masked_scatter masked_select max:dim_max,unary_out max_pool2d_with_indices
        max_pool2d_with_indices_backward:grad_input maximum mean:dtype_out,out min:dim_min,unary_out minimum mm
        mul:Scalar_out,out narrow_copy native_dropout native_group_norm native_layer_norm ne:Scalar_out,Tensor_out neg
        nonzero ones permute_copy pixel_shuffle pixel_unshuffle pow:Scalar_out,Tensor_Scalar_out,Tensor_Tensor_out
        prod:int_out,out rand randn reciprocal reflection_pad1d reflection_pad2d reflection_pad3d relu
        remainder:Scalar_out,Tensor_out repeat repeat_interleave:Tensor_out replication_pad1d replication_pad2d
        replication_pad3d roll round rsqrt rsub:Scalar_out scalar_tensor scatter:src_out,value_out scatter_add
        select_copy:int_out select_scatter sigmoid sign sin sinh slice_copy:Tensor_out slice_scatter
        split_copy:Tensor_out split_with_sizes_copy sqrt squeeze_copy:dim_out,dims_out stack sub:Scalar_out,out
        sum:IntList_out sym_numel:- sym_size:int t_copy tan tanh topk:values transpose_copy:int_out tril trunc
        unbind_copy:int_out unfold_copy unsqueeze_copy upsample_bilinear2d:vec_out upsample_nearest2d:vec_out
        var:correction_out,out var_mean:correction_out view_as_real_copy view_copy where:self_out zeros
    """,
    "dim_order_ops": """
        _clone_dim_order _empty_dim_order _to_dim_order_copy
    """,
}

# Element types for which a kernel in the list returns an error when it is called.
_REFUSED = {
    "aten::_conj_physical": "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64",
    "aten::_log_softmax": "float64",
    "aten::add.Scalar": "bool",
    "aten::logit": "float16 bfloat16",
}

# And those for which it computes something else than torch does.
_WRONG = {
    "aten::_upsample_bilinear2d_aa": "uint8",
    "aten::max_pool2d_with_indices_backward": "float16 bfloat16 float32 float64",  # adds to the memory's content
    "aten::upsample_bilinear2d": "uint8",
}

_PRODUCTS = ("aten::mm", "aten::bmm", "aten::linear")

# The largest rank of the first argument that a kernel serves.
_MOST_DIMENSIONS = {"aten::convolution": 4}

# torch's own operators on sizes, for which ExecuTorch has primitives.
_SIZES = frozenset({"sym_stride", "sym_size", "sym_numel", "sym_constrain_range", "sym_constrain_range_for_size"})
# Removed or handled on the way from the edge program to the file.
_REMOVED = frozenset({"_assert_async", "_assert_scalar", "_assert_tensor_metadata", "alias_copy", "detach_copy"})
_OWN_NAMESPACES = frozenset({"aten", "dim_order_ops", "executorch_ggml", "prims"})


@functools.cache
def names() -> frozenset[str]:
    """All kernels, as ``namespace::name.overload``."""
    return frozenset(_parse())


def missing(node: Node, provided: Collection[str] = ()) -> str:
    """Why ExecuTorch cannot run a call node of an edge program, or an empty string.

    Args:
        node: outside every delegate.
        provided: kernels that the user's runtime has beside ExecuTorch's own.
    """
    target: Any = overload_of(node.target)
    if not isinstance(target, torch._ops.OpOverload):
        return _missing_scalar(target)
    namespace, _, name = str(target._schema.name).partition("::")
    if namespace == "executorch_prim" or name in _SIZES or name in _REMOVED:
        return ""
    kernel = _out_variant(target)
    if kernel in provided:
        return ""
    if namespace not in _OWN_NAMESPACES:
        # A library of the user's own: it made an out variant, so it knows that a kernel is needed.
        return "" if kernel else f"{target} has no out variant, which ExecuTorch needs"
    if not kernel:
        return f"ExecuTorch has no kernel for {target} (no out variant either)"
    if kernel not in names():
        return f"ExecuTorch has no kernel {kernel}"
    return _argument(node, target, kernel)


def _parse() -> set[str]:
    found: set[str] = set()
    for namespace, text in _KERNELS.items():
        for word in text.split():
            name, _, overloads = word.partition(":")
            for overload in (overloads or "out").split(","):
                found.add(f"{namespace}::{name}" + ("" if overload == "-" else f".{overload}"))
    return found


def _out_variant(target: torch._ops.OpOverload) -> str:
    """Name of the kernel that a node needs; empty when torch has no such operator."""
    if any(a.is_out or (a.alias_info is not None and a.alias_info.is_write) for a in target._schema.arguments):
        return _name(target)
    if _name(target) in names():  # such as _local_scalar_dense, which returns a number
        return _name(target)
    # As ExecuTorch looks for it: in one way for operators of the edge dialect, in another for all others.
    from executorch.exir.dialects.edge.op.api import to_variant
    from executorch.exir.operator.convert import to_out_variant
    from torchgen.model import SchemaKind  # type: ignore[import-untyped, unused-ignore]

    finders: list[Callable[[], Any]] = [
        lambda: to_variant(target, SchemaKind.out),
        lambda: to_out_variant(target)[0],
    ]
    for find in finders:
        try:
            return _name(find())
        except Exception:  # RuntimeError, AssertionError or KeyError, depending on the missing part
            continue
    return ""


def _name(target: torch._ops.OpOverload) -> str:
    overload = target._schema.overload_name
    return str(target._schema.name) + (f".{overload}" if overload else "")


def _missing_scalar(target: Any) -> str:
    from executorch.exir.passes.executorch_prim_ops_registry import is_sym_op

    if target is operator.getitem or is_sym_op(target) or isinstance(target, torch._ops.HigherOrderOperator):
        return ""
    if getattr(target, "__module__", "") not in ("_operator", "math", "builtins", "torch"):
        return ""
    return f"ExecuTorch has no primitive for {getattr(target, '__name__', target)} of sizes"


def _argument(node: Node, target: torch._ops.OpOverload, kernel: str) -> str:
    """Why a kernel does not serve for the first tensor that a node reads (or yields), or an empty string."""
    val = next(
        (s.meta["val"] for s in (*node.all_input_nodes, node) if isinstance(s.meta.get("val"), torch.Tensor)), None
    )
    if val is None:
        return ""
    dtype = str(val.dtype).removeprefix("torch.")
    for key in (str(target._schema.name), _name(target)):
        if dtype in _REFUSED.get(key, "").split():
            return f"ExecuTorch's kernel {kernel} takes no {dtype}"
        if dtype in _WRONG.get(key, "").split():
            return f"ExecuTorch's kernel {kernel} is wrong for {dtype}"
        if val.dim() > _MOST_DIMENSIONS.get(key, val.dim()):
            return f"ExecuTorch's kernel {kernel} does not serve {val.dim()} dimensions"
    if target._schema.name == "aten::nonzero" and val.dim() > 1:
        # ExecuTorch traces it again when it writes the file, and takes torch's order of the result from there.
        return f"ExecuTorch's kernel {kernel} writes rows, and the program reads columns"
    if target._schema.name in _PRODUCTS and any(d == 0 for d in val.shape) and 0 not in node.meta["val"].shape:
        return f"ExecuTorch's kernel {kernel} leaves the result of a product over nothing as it is in memory"
    if target._schema.name in ("aten::unfold_copy", "aten::nonzero") and not val.dim():
        return f"ExecuTorch's kernel {kernel} takes no tensor without dimensions"
    if target._schema.name == "aten::upsample_nearest2d" and (least := _kept_below(node, val)):
        return (
            f"ExecuTorch's kernel {kernel} moves pixels of an image whose size the factor does not change, which torch "
            f"does not; give the dynamic sizes a minimum of {least}"
        )
    if target._schema.name == "aten::constant_pad_nd" and _is_negative(node.args[1]):
        return f"ExecuTorch's kernel {kernel} takes no negative widths"
    return ""


def _kept_below(node: Node, image: torch.Tensor) -> int:
    """The size from which on factors enlarge an image, where it may be smaller; 0 where that makes no difference.

    A factor between 1 and 1.5 keeps small sizes. Position 1 then lies in pixel 0.
    """

    factors: Any = node.args[2] if len(node.args) > 2 else None
    if factors is None:
        factors = node.kwargs.get("scale_factors")
    found = 0
    sizes: list[Any] = list(image.shape[2:])
    for size, factor in zip(sizes, factors or (), strict=False):
        bounds = size_bounds(size) if isinstance(size, torch.SymInt) else (size, size)
        if bounds is None or not isinstance(factor, float) or not 1.0 < factor < 1.5:
            continue
        least = next(n for n in itertools.count(1) if math.floor(n * factor) > n)
        found = max(found, least) if max(bounds[0], 2) < least else found
    return found


def _is_negative(widths: Any) -> bool:
    return any(isinstance(w, int) and w < 0 for w in widths)
