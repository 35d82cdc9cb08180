"""Normalisations: `layer_norm`, `rms_norm`, `group_norm`, `instance_norm`, batch norm.

After decomposition: `native_layer_norm`, `native_group_norm`, `_native_batch_norm_legit_no_training`.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import BinaryKind, Builder, UnaryKind, Value
from executorch_ggml.ir.dims import product

_aten = torch.ops.aten


def _seeded(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(7)
    for p in module.parameters():
        torch.nn.init.normal_(p)
    for b in module.buffers():
        if b.dtype.is_floating_point:
            torch.nn.init.uniform_(b, 0.5, 2.0)
    return module.eval()


def _rows_over(b: Builder, v: Value, count: int) -> Value:
    """The last ``count`` dimensions as one row."""
    if count == 1:
        return v
    return b.reshape(b.contiguous(v), (*v.shape[: v.rank - count], product(v.shape[v.rank - count :])))


@register(
    _aten.layer_norm.default,
    keep=True,
    cases=lambda: [
        Case(_seeded(torch.nn.LayerNorm(5)), [(3, 5)]),
        Case(_seeded(torch.nn.LayerNorm((4, 5))), [(2, 3, 4, 5)], name="two dimensions"),
        Case(_seeded(torch.nn.LayerNorm((3, 4, 5))), [(2, 3, 4, 5)], name="three dimensions"),
        Case(lambda x: F.layer_norm(x, (5,), eps=0.1), [(2, 3, 5)], name="plain"),
        Case(_seeded(torch.nn.LayerNorm(5, bias=False)), [(2, 3, 5)], name="no bias"),
        Case(lambda x: F.layer_norm(x.transpose(0, 1), (3,)), [(3, 5)], name="transposed"),
        Case(_seeded(torch.nn.LayerNorm(5)), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def layer_norm(b: Builder, n: NodeView) -> Value:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions."""
    n.require_float()
    return _layer_norm(b, n)


def _layer_norm(b: Builder, n: NodeView) -> Value:
    x = b.f32(n.tensor("input"))
    count = len(n.dims("normalized_shape"))
    result = b.reshape(b.norm(_rows_over(b, x, count), n.number("eps")), x.shape)
    weight, bias = n.opt_tensor("weight"), n.opt_tensor("bias")
    if weight is not None:
        result = b.mul(result, weight)
    return result if bias is None else b.add(result, bias)


@register(_aten.native_layer_norm.default)
def native_layer_norm(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As layer_norm; its mean and rstd are only there for training."""
    n.require_float()
    if n.used_outputs() - {0}:
        raise Unsupported("mean and rstd of native_layer_norm are used")
    return _layer_norm(b, n), None, None


@register(
    _aten.rms_norm.default,
    keep=True,
    cases=lambda: [
        Case(_seeded(torch.nn.RMSNorm(8, eps=1e-6)), [(3, 8)]),
        Case(_seeded(torch.nn.RMSNorm(8)), [(2, 3, 8)], name="default eps"),
        Case(lambda x: F.rms_norm(x * 1e-3, (8,)), [(2, 3, 8)], name="small values, default eps"),
        Case(_seeded(torch.nn.RMSNorm((3, 8), eps=1e-5)), [(2, 3, 8)], name="two dimensions"),
        Case(_seeded(torch.nn.RMSNorm(8)), [(7, 8)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def rms_norm(b: Builder, n: NodeView) -> Value:
    """x / sqrt(mean(x^2) + eps) * weight; a missing eps is the machine epsilon of the type, as in torch."""
    n.require_float()
    x = b.f32(n.tensor("input"))
    eps = n.number("eps") if n.has("eps") else float(torch.finfo(n.raw("input").meta["val"].dtype).eps)
    count = len(n.dims("normalized_shape"))
    result = b.reshape(b.rms_norm(_rows_over(b, x, count), eps), x.shape)
    weight = n.opt_tensor("weight")
    return result if weight is None else b.mul(result, weight)


def _group_norm(b: Builder, x: Value, weight: Value | None, bias: Value | None, groups: int, eps: float) -> Value:
    """Channels are dimension 1; each (batch, group) is one row."""
    channels = x.shape[1]
    if not isinstance(channels, int) or channels % groups:
        raise Unsupported(f"{groups} groups of {channels} channels")
    inner = product((channels // groups, *x.shape[2:]))
    rows = b.reshape(b.contiguous(x), (product((x.shape[0], groups)), inner))
    result = b.reshape(b.norm(rows, eps), x.shape)
    ones = (1,) * (x.rank - 2)
    if weight is not None:
        result = b.mul(result, b.reshape(b.f32(weight), (channels, *ones)))
    return result if bias is None else b.add(result, b.reshape(b.f32(bias), (channels, *ones)))


@register(
    _aten.group_norm.default,
    keep=True,
    cases=lambda: [
        Case(_seeded(torch.nn.GroupNorm(2, 6)), [(2, 6, 3, 4)]),
        Case(_seeded(torch.nn.GroupNorm(3, 6)), [(2, 6, 5)], name="1-D"),
        Case(_seeded(torch.nn.GroupNorm(1, 6)), [(2, 6, 2, 3, 2)], name="3-D"),
        Case(_seeded(torch.nn.GroupNorm(6, 6, affine=False)), [(2, 6, 4, 4)], name="instance"),
    ],
)
def group_norm(b: Builder, n: NodeView) -> Value:
    """Normalisation of each group of channels."""
    n.require_float()
    x = b.f32(n.tensor("input"))
    return _group_norm(b, x, n.opt_tensor("weight"), n.opt_tensor("bias"), n.integer("num_groups"), n.number("eps"))


@register(
    _aten.instance_norm.default,
    keep=True,
    cases=lambda: [
        Case(_seeded(torch.nn.InstanceNorm2d(6, affine=True)), [(2, 6, 3, 4)]),
        Case(_seeded(torch.nn.InstanceNorm1d(6, eps=0.1)), [(2, 6, 5)], name="1-D, plain"),
        Case(_seeded(torch.nn.InstanceNorm3d(3)), [(2, 3, 2, 4, 3)], name="3-D"),
        Case(_seeded(torch.nn.InstanceNorm2d(3)), [(2, 3, 4, 5)], dynamic=[{3: ("w", 2, 9)}], name="dynamic"),
    ],
)
def instance_norm(b: Builder, n: NodeView) -> Value:
    """Normalisation of each channel of each image by its own statistics: group_norm with as many groups as channels."""
    n.require_float()
    if not n.flag("use_input_stats"):
        raise Unsupported("instance_norm by running statistics")
    x = b.f32(n.tensor("input"))
    channels = x.shape[1]
    if not isinstance(channels, int):
        raise Unsupported("a dynamic number of channels")
    return _group_norm(b, x, n.opt_tensor("weight"), n.opt_tensor("bias"), channels, n.number("eps"))


@register(_aten.native_group_norm.default)
def native_group_norm(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """As group_norm; its statistics are only there for training."""
    n.require_float()
    if n.used_outputs() - {0}:
        raise Unsupported("statistics of native_group_norm are used")
    x = b.f32(n.tensor("input"))
    result = _group_norm(b, x, n.opt_tensor("weight"), n.opt_tensor("bias"), n.integer("group"), n.number("eps"))
    return result, None, None


@register(
    _aten._native_batch_norm_legit_no_training.default,
    cases=lambda: [
        Case(_seeded(torch.nn.BatchNorm2d(8)), [(2, 8, 16, 16)], name="square, divisible"),
        Case(_seeded(torch.nn.BatchNorm2d(3)), [(2, 3, 4, 5)]),
        Case(_seeded(torch.nn.BatchNorm1d(3)), [(2, 3, 5)], name="1-D"),
        Case(_seeded(torch.nn.BatchNorm1d(3)), [(4, 3)], name="rows"),
        Case(_seeded(torch.nn.BatchNorm2d(3, affine=False)), [(2, 3, 4, 5)], name="plain"),
        Case(_seeded(torch.nn.BatchNorm3d(3)), [(2, 3, 2, 4, 2)], name="3-D"),
    ],
)
def batch_norm(b: Builder, n: NodeView) -> tuple[Value | None, ...]:
    """Inference: x * scale[c] + shift[c], both folded ahead of time where the parameters are at hand."""
    n.require_float()
    if n.used_outputs() - {0}:
        raise Unsupported("statistics of batch norm are used")
    x = b.f32(n.tensor("input"))
    mean, var = n.tensor("running_mean"), n.tensor("running_var")
    weight, bias = n.opt_tensor("weight"), n.opt_tensor("bias")
    eps = n.number("eps")
    channels = x.shape[1]
    ones = (1,) * (x.rank - 2)
    sources = [v for v in (var, mean, weight, bias) if v is not None]
    has_weight, has_bias = weight is not None, bias is not None

    def fold(*arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rest = [a.astype(np.float64) for a in arrays[2:]]
        gain = rest.pop(0) if has_weight else np.ones_like(arrays[0], dtype=np.float64)
        offset = rest.pop(0) if has_bias else np.zeros_like(gain)
        scale = gain / np.sqrt(arrays[0].astype(np.float64) + eps)
        return scale, offset - arrays[1] * scale

    scale = b.derive_weight(f"scale{eps}", sources, (channels,), lambda *a: fold(*a)[0])
    shift = b.derive_weight(f"shift{eps}", sources, (channels,), lambda *a: fold(*a)[1])
    if scale is None or shift is None:
        inverse = b.reciprocal(b.unary(UnaryKind.SQRT, b.scale(var, 1.0, eps)))
        scale = b.mul(inverse, weight) if weight is not None else inverse
        shift = b.scale(b.mul(mean, scale), -1.0)
        if bias is not None:
            shift = b.add(shift, bias)
    result = b.mul(x, b.reshape(b.f32(scale), (channels, *ones)))
    return b.binary(BinaryKind.ADD, result, b.reshape(b.f32(shift), (channels, *ones))), None, None
