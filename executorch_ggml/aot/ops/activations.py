"""Activation functions: `elu`, `gelu`, `hardsigmoid`, `hardswish`, `hardtanh`, `leaky_relu`, `relu`, `sigmoid`, `silu`,
`softplus`, `tanh`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from executorch_ggml.aot.registry import Arg, Case, NodeView, Unsupported, register
from executorch_ggml.ir.builder import Builder, UnaryKind, Value

from ._unary import register_unary
from .clamp import held
from .compare import greater
from .where import choose

_aten = torch.ops.aten


@register(
    _aten.gelu.default,
    keep=True,
    cases=lambda: [
        Case(F.gelu, [Arg((3, 5), low=-6, high=6)], name="erf"),
        Case(lambda x: F.gelu(x, approximate="tanh"), [Arg((2, 3, 7), low=-6, high=6)], name="tanh"),
        Case(lambda x: F.gelu(x.permute(2, 0, 1)), [(2, 3, 4)], name="permuted"),
        Case(lambda x: F.gelu(x, approximate="tanh"), [(5, 3)], dynamic=[{0: ("n", 1, 9)}], name="dynamic"),
    ],
)
def gelu(b: Builder, n: NodeView) -> Value:
    """Exact GELU is ggml's erf form. ggml's own tanh form reads a half-precision table (errors of 1e-3)."""
    n.require_float()
    tanh = n.text("approximate") == "tanh"
    return b.unary(UnaryKind.GELU_TANH if tanh else UnaryKind.GELU_ERF, b.f32(n.tensor("self")))


@register(
    _aten.leaky_relu.default,
    keep=True,
    cases=lambda: [
        Case(F.leaky_relu, [(3, 5)]),
        Case(lambda x: F.leaky_relu(x, 0.3), [(2, 3, 4, 5)], name="slope"),
        Case(lambda x: F.leaky_relu(x.t(), 0.3), [(3, 5)], name="transposed"),
    ],
)
def leaky_relu(b: Builder, n: NodeView) -> Value:
    """x where positive, else slope * x."""
    n.require_float()
    slope = n.number("negative_slope")
    if math.isfinite(slope):
        return b.leaky_relu(n.tensor("self"), slope)
    x = b.f32(n.tensor("self"))
    return choose(b, greater(b, x, 0.0), x, b.scale(x, slope), x.shape)


def _finite(n: NodeView, name: str) -> float:
    number = n.number(name)
    if not math.isfinite(number):
        raise Unsupported(f"a {name} of {number}")
    return number


@register(
    _aten.elu.default,
    keep=True,
    cases=lambda: [
        Case(F.elu, [(3, 5)]),
        Case(lambda x: F.elu(x, 0.7), [(3, 5)], name="alpha"),
        Case(F.selu, [(4, 3)]),
    ],
)
def elu(b: Builder, n: NodeView) -> Value:
    """scale * (max(0, x) + alpha * expm1(input_scale * min(0, x)))."""
    n.require_float()
    x = b.f32(n.tensor("self"))
    alpha, scale, input_scale = (_finite(n, name) for name in ("alpha", "scale", "input_scale"))
    if (alpha, scale, input_scale) == (1.0, 1.0, 1.0):
        return b.unary(UnaryKind.ELU, x)
    # ggml's ELU calls expm1 (its EXPM1 subtracts 1 from exp and loses digits near zero).
    negative = b.unary(UnaryKind.ELU, b.clamp(b.scale(x, input_scale), maximum=0.0))
    return b.add(b.scale(b.unary(UnaryKind.RELU, x), scale), b.scale(negative, alpha * scale))


@register(
    _aten.hardtanh.default,
    keep=True,
    cases=lambda: [
        Case(F.hardtanh, [(3, 5)]),
        Case(lambda x: F.hardtanh(x, -0.5, 2.0), [(3, 5)], name="bounds"),
        Case(F.relu6, [Arg((3, 5), low=-4, high=9)], name="relu6"),
    ],
)
def hardtanh(b: Builder, n: NodeView) -> Value:
    """Clamp between two numbers."""
    n.require_float()
    return held(b, n.tensor("self"), n.number("min_val"), n.number("max_val"))


@register(
    _aten.softplus.default,
    keep=True,
    cases=lambda: [
        Case(F.softplus, [Arg((3, 5), low=-5, high=30)], tolerance=1e-8),
        Case(lambda x: F.softplus(x, beta=2.0), [Arg((3, 9), low=-15, high=15)], tolerance=1e-8, name="beta"),
        Case(lambda x: F.softplus(x, beta=-0.5), [Arg((3, 9), low=-60, high=60)], tolerance=1e-8, name="beta below 0"),
        Case(lambda x: F.softplus(x, threshold=25.0), [(3, 5)], name="threshold"),
        Case(lambda x: F.softplus(x, threshold=1.0), [(3, 5)], name="low threshold"),
    ],
)
def softplus(b: Builder, n: NodeView) -> Value:
    """log(1 + exp(beta x)) / beta; x itself beyond a threshold, where that is the same in F32."""
    n.require_float()
    beta, threshold = n.number("beta"), n.number("threshold")
    if threshold < 20.0 or beta == 0.0:
        raise Unsupported(f"softplus with threshold {threshold} and beta {beta}: ggml's threshold is 20")
    x = b.f32(n.tensor("self"))
    if beta == 1.0:
        return b.unary(UnaryKind.SOFTPLUS, x)
    # Far beyond the threshold beta times x may be infinite, but the result is x: the rest of it is added afterwards.
    sign, end = math.copysign(1.0, beta), threshold / abs(beta)
    x = b.scale(x, sign)
    near = b.unary(UnaryKind.SOFTPLUS, b.scale(b.clamp(x, maximum=end, keeps_nan=True), abs(beta)))
    rest = b.unary(UnaryKind.RELU, b.scale(x, 1.0, -end))
    return b.scale(b.add(b.scale(near, 1.0 / abs(beta)), rest), sign)


register_unary(_aten.tanh.default, UnaryKind.TANH, torch.tanh)


register_unary(_aten.sigmoid.default, UnaryKind.SIGMOID, torch.sigmoid)


register_unary(_aten.relu.default, UnaryKind.RELU, torch.relu)


register_unary(_aten.silu.default, UnaryKind.SILU, F.silu, keep=True)


register_unary(_aten.hardswish.default, UnaryKind.HARD_SWISH, F.hardswish, keep=True, low=-5, high=5)


register_unary(_aten.hardsigmoid.default, UnaryKind.HARD_SIGMOID, F.hardsigmoid, keep=True, low=-5, high=5)
