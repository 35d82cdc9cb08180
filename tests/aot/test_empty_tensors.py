"""Tensors without elements: eager's results, and no delegate has to hold one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import export

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.passes import replace_empty
from executorch_ggml.errors import UnloadableError

pytestmark = pytest.mark.filterwarnings("ignore")


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function, self.layer = function, nn.Linear(4, 5)
        self.register_buffer("nothing", torch.zeros(0, 4))

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "results": lambda m, x: (x[:, :0] * 2, x[:0] + 1, (x[:0] > 0), x[:0].long(), x + 1, x[:0].reshape(2, 0, 7)),
    "sums": lambda m, x: (x[:, :0].sum(1) + x.sum(1), x[:, :0].mean(1), x[:, :0].prod(1), (x[:, :0] > 0).all(1)),
    "products": lambda m, x: (x[:, :0] @ x[:0] + 1, torch.addmm(x, x[:, :0], x[:0]), m.layer(x[:0] * 2)),
    "joined": lambda m, x: (torch.cat([x[:, :0], x * 2], 1), torch.cat([torch.zeros(0), x]), torch.cat([m.nothing, x])),
    "made": lambda m, x: (nn.functional.pad(x[:, :0], (1, 2), value=3.0), x[:1].expand(0, 4) * 2, x.new_zeros(0, 4)),
    "rows": lambda m, x: (x[torch.zeros(0, dtype=torch.int64)] * 2, torch.softmax(x[:0], 1), x.split([3, 0])[1] + 1),
    "returned": lambda m, x: (m.layer(x), m.nothing, m.nothing.sum(0) + x),
    "unused": lambda m, x: (x[:, :0] * 2.0).sum() + x,
    "attention": lambda m, x: nn.functional.scaled_dot_product_attention(x[None], x[None, :0], x[None, :0]),
}


@pytest.mark.parametrize("rewrites", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_eager(name: str, rewrites: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Calls(FUNCTIONS[name]).eval(), torch.rand(3, 4)
    edge = to_edge_rewrite_and_lower(export(model, (x,)), partitioner=GgmlPartitioner(rewrites=rewrites))
    path = tmp_path / "empty.pte"
    path.write_bytes(edge.to_executorch().buffer)
    want = model(x)
    wanted = want if isinstance(want, tuple) else (want,)
    got = Program(path, threads=1)(x)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)


def test_an_argument_without_elements(tmp_path: Path) -> None:
    model, x = Calls(lambda m, x: torch.relu(m.layer(x))).eval(), torch.rand(0, 4)
    path = tmp_path / "empty.pte"
    path.write_bytes(to_edge_rewrite_and_lower(export(model, (x,))).to_executorch().buffer)
    assert Program(path, threads=1)(x)[0].shape == (0, 5)


def test_results_that_nobody_reads_may_be_empty() -> None:
    """Batch norm has two: it must stay in the delegate."""
    from executorch_ggml.analysis.reference import delegates

    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).eval()
    partitioner = GgmlPartitioner(rewrites=False)
    edge = to_edge_rewrite_and_lower(export(model, (torch.rand(2, 3, 5, 5),)), partitioner=partitioner)
    assert len(delegates(edge.exported_program())) == 1
    assert not any(partitioner.decisions.reasons.values())


def test_what_becomes_of_the_graph() -> None:
    ep = export(Calls(lambda m, x: torch.exp(x[:, :0] * 2).sum(1) + x.sum(1)).eval(), (torch.rand(3, 4),))
    ep = ep.run_decompositions({})
    assert replace_empty(ep) is True
    assert replace_empty(ep) is False
    assert not any("exp" in str(n.target) or "slice" in str(n.target) for n in ep.graph.nodes)
    plain = export(nn.Linear(4, 5), (torch.rand(3, 4),)).run_decompositions({})
    assert replace_empty(plain) is False


class ProductsOverNothing(nn.Module):
    """Of arguments: nothing can be evaluated ahead of time. ExecuTorch's kernels left garbage."""

    def forward(self, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        linear = nn.functional.linear
        products = [torch.mm(a, b), a @ b, torch.bmm(a[None], b[None]), torch.mv(a, b[:, 0]), linear(a, b.t())]
        added = [torch.addmm(c, a, b), torch.baddbmm(c[None], a[None], b[None], beta=0.5), linear(a, b.t(), c[0])]
        return *products, *added, torch.addmm(c, a, b, beta=0), c.sin() + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_over_nothing(dtype: torch.dtype, tmp_path: Path) -> None:
    args = (torch.zeros(5, 0, dtype=dtype), torch.zeros(0, 10, dtype=dtype), torch.full((5, 10), 1e9, dtype=dtype))
    edge = to_edge_rewrite_and_lower(export(ProductsOverNothing(), args))
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for _ in range(2):
            for got, want in zip(run(*args), ProductsOverNothing()(*args), strict=True):
                torch.testing.assert_close(torch.as_tensor(got), want)


def test_a_product_over_nothing_in_disguise_is_refused() -> None:
    args = (torch.zeros(5, 0, dtype=torch.float64), torch.zeros(0, 10, dtype=torch.float64))
    model = Function(lambda a, b: torch.einsum("ij,jk->ik", a, b))
    with pytest.raises(UnloadableError, match="product over nothing"):
        to_edge_rewrite_and_lower(export(model, args))


class Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)
