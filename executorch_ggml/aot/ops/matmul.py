"""Matrix products: `linear`, `matmul`, `mm`, `bmm`, `addmm`, `baddbmm`."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from executorch_ggml.aot import flop_rules as flops
from executorch_ggml.aot.registry import Arg, Case, NodeView, register
from executorch_ggml.ir.builder import Builder, Value
from executorch_ggml.ir.dims import same

_aten = torch.ops.aten


class _Linear(torch.nn.Module):
    def __init__(self, n: int, m: int, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(n * 31 + m)
        self.inner = torch.nn.Linear(n, m, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.inner(x)
        return result


class _RightWeight(torch.nn.Module):
    """x @ W with W as it is, not transposed: square and not."""

    def __init__(self, k: int, n: int) -> None:
        super().__init__()
        torch.manual_seed(k * 17 + n)
        self.w = torch.nn.Parameter(torch.randn(k, n))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, self.w)


class _LeftWeight(_RightWeight):
    """W @ x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(self.w, x)


@register(
    _aten.linear.default,
    keep=True,
    always_keep=True,
    flops=flops.product,
    cases=lambda: [
        Case(_Linear(5, 3), [(4, 5)]),
        Case(_Linear(4, 4), [(4, 4)], name="square"),
        Case(_Linear(5, 3, False), [(2, 4, 5)], name="no bias"),
        Case(_Linear(5, 3), [(5,)], name="vector"),
        Case(_Linear(5, 3), [(2, 3, 2, 2, 5)], name="rank 5"),
        Case(_Linear(5, 3), [(7, 5)], dynamic=[{0: ("n", 1, 9)}], name="dynamic batch"),
        Case(_Linear(5, 3), [(2, 7, 5)], dynamic=[{0: ("b", 1, 4), 1: ("n", 1, 9)}], name="two dynamic"),
        Case(lambda x, w: F.linear(x, w), [(4, 5), (3, 5)], name="weight is an input"),
        Case(lambda x, w: F.linear(x, w.t()), [(4, 5), (5, 3)], name="weight is a transposed input"),
        Case(lambda x, w: F.linear(x.t(), w), [(5, 4), (3, 5)], name="transposed input"),
    ],
)
def linear(b: Builder, n: NodeView) -> Value:
    """x @ W^T + bias."""
    n.require_float()
    x = n.tensor("input")
    flat = b.reshape(b.f32(x), (1, *x.shape)) if x.rank == 1 else x
    result = b.mul_mat(n.tensor("weight"), flat, n.opt_tensor("bias"))
    return b.reshape(result, result.shape[1:]) if x.rank == 1 else result


@register(
    _aten.mm.default,
    flops=flops.product,
    ahead_of_time=True,
    cases=lambda: [
        Case(torch.mm, [(4, 5), (5, 3)]),
        Case(torch.mm, [(4, 4), (4, 4)], name="square"),
        Case(lambda x, y: torch.mm(x, y.t()), [(4, 5), (3, 5)], name="transposed right"),
        Case(lambda x, y: torch.mm(x.t(), y), [(5, 4), (5, 3)], name="transposed left"),
        Case(lambda x, y: torch.mm(x, torch.tanh(y)), [(4, 5), (5, 3)], name="of tanh"),
        Case(_RightWeight(5, 3), [(4, 5)], name="right weight"),
        Case(_RightWeight(4, 4), [(4, 4)], name="square right weight"),
        Case(torch.mm, [(7, 5), (5, 3)], dynamic=[{0: ("n", 1, 9)}, {}], name="dynamic"),
        Case(torch.mm, [Arg((4, 5), torch.int64, -3, 3), Arg((5, 3), torch.int64, -3, 3)], refused="int64", name="int"),
    ],
)
def mm(b: Builder, n: NodeView) -> Value:
    """a @ b of two matrices."""
    n.require_float()
    return b.matmul(n.tensor("self"), n.tensor("mat2"))


@register(
    _aten.bmm.default,
    flops=flops.product,
    ahead_of_time=True,
    cases=lambda: [
        Case(torch.bmm, [(3, 4, 5), (3, 5, 2)]),
        Case(torch.bmm, [(2, 4, 4), (2, 4, 4)], name="square"),
        Case(lambda x, y: torch.bmm(x, y.transpose(1, 2)), [(3, 4, 5), (3, 2, 5)], name="transposed right"),
        Case(torch.bmm, [(5, 4, 5), (5, 5, 2)], dynamic=[{0: ("n", 1, 6)}, {0: ("n", 1, 6)}], name="dynamic"),
    ],
)
def bmm(b: Builder, n: NodeView) -> Value:
    """Batched product."""
    n.require_float()
    return b.matmul(n.tensor("self"), n.tensor("mat2"))


@register(
    _aten.matmul.default,
    keep=True,
    flops=flops.product,
    ahead_of_time=True,
    cases=lambda: [
        Case(torch.matmul, [(2, 3, 4, 5), (2, 3, 5, 2)]),
        Case(torch.matmul, [(2, 3, 4, 5), (5, 2)], name="2-D right"),
        Case(torch.matmul, [(2, 3, 4, 5), (3, 5, 2)], name="right broadcasts"),
        Case(torch.matmul, [(3, 4, 5), (2, 3, 5, 2)], name="left broadcasts"),
        Case(torch.matmul, [(4, 5), (2, 3, 5, 2)], name="2-D left"),
        Case(torch.matmul, [(2, 1, 2, 4, 5), (3, 1, 5, 2)], name="rank 5"),
        Case(torch.matmul, [(5,), (5, 3)], name="vector left"),
        Case(torch.matmul, [(2, 4, 5), (5,)], name="vector right"),
        Case(torch.matmul, [(5,), (5,)], name="dot"),
        Case(lambda q, k: q @ k.transpose(-1, -2), [(2, 3, 4, 5), (2, 3, 6, 5)], name="scores"),
        Case(_LeftWeight(3, 5), [(5, 4)], name="left weight"),
        Case(_LeftWeight(3, 5), [(2, 5, 4)], name="left weight, batch"),
    ],
)
def matmul(b: Builder, n: NodeView) -> Value:
    """torch.matmul: vectors, matrices, batches."""
    n.require_float()
    left, right = n.tensor("self"), n.tensor("other")
    x = b.reshape(left, (1, *left.shape)) if left.rank == 1 else left
    y = b.reshape(b.f32(right), (*right.shape, 1)) if right.rank == 1 else right
    result = b.matmul(x, y)
    shape = list(result.shape)
    if right.rank == 1:
        del shape[-1]
    if left.rank == 1:
        del shape[-1 if right.rank == 1 else -2]
    return b.reshape(result, tuple(shape))


def _affine(b: Builder, n: NodeView, product: Value) -> Value:
    alpha, beta = n.number("alpha"), n.number("beta")
    product = b.scale(product, alpha)
    if beta == 0.0:
        return product
    return b.add(product, b.scale(n.tensor("self"), beta) if beta != 1.0 else n.tensor("self"))


@register(
    _aten.addmm.default,
    flops=flops.added_product,
    cases=lambda: [
        Case(torch.addmm, [(3,), (4, 5), (5, 3)]),
        Case(lambda s, x, y: torch.addmm(s, x, y, beta=0.5, alpha=2.0), [(4, 1), (4, 5), (5, 3)], name="scaled"),
        Case(lambda s, x, y: torch.addmm(s, x, y.t()), [(4, 3), (4, 5), (3, 5)], name="transposed"),
    ],
)
def addmm(b: Builder, n: NodeView) -> Value:
    """beta * self + alpha * (mat1 @ mat2)."""
    n.require_float()
    bias, mat2 = n.tensor("self"), n.tensor("mat2")
    if bias.rank == 1 and same(bias.shape[0], mat2.shape[1]) and n.number("alpha") == n.number("beta") == 1.0:
        return b.matmul(n.tensor("mat1"), mat2, bias)
    return _affine(b, n, b.matmul(n.tensor("mat1"), mat2))


@register(
    _aten.baddbmm.default,
    flops=flops.added_product,
    cases=lambda: [
        Case(torch.baddbmm, [(2, 4, 3), (2, 4, 5), (2, 5, 3)]),
        Case(
            lambda s, x, y: torch.baddbmm(s, x, y, beta=0.5, alpha=2.0), [(1, 3), (2, 4, 5), (2, 5, 3)], name="scaled"
        ),
    ],
)
def baddbmm(b: Builder, n: NodeView) -> Value:
    """beta * self + alpha * (batch1 @ batch2)."""
    n.require_float()
    return _affine(b, n, b.matmul(n.tensor("batch1"), n.tensor("batch2")))
