"""What exports also loads, or lowering says why not: kernels, sizes and bounds of a lowered program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from executorch.exir import to_edge_transform_and_lower
from torch import nn
from torch.export import Dim, ExportedProgram, export
from torch.nn import functional as F

from executorch_ggml import (
    GgmlError,
    GgmlPartitioner,
    LoweringError,
    Program,
    ShapeError,
    UnloadableError,
    UnsupportedError,
    to_edge_rewrite_and_lower,
)
from executorch_ggml.analysis.explain import explain
from executorch_ggml.aot import host_kernels
from executorch_ggml.aot.input_sizes import InputSizes

pytestmark = pytest.mark.filterwarnings("ignore")


class Apply(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)  # the line that a refusal must name


def exported(function: Callable[..., Any], x: torch.Tensor, sizes: Any = None) -> ExportedProgram:
    return export(Apply(function), (x,), dynamic_shapes=(sizes,) if sizes else None, strict=False)


def test_the_list_of_kernels_is_the_library_s() -> None:
    from executorch.runtime import Runtime

    registered = {
        n for n in Runtime.get().operator_registry.operator_names if n.startswith(("aten::", "dim_order_ops"))
    }
    assert host_kernels.names() == registered


def no_kernel(x: torch.Tensor) -> torch.Tensor:
    at = torch.zeros_like(x, dtype=torch.int64)
    return torch.scatter_reduce(x, 0, at, x, "amax")


def plain(program: ExportedProgram) -> Any:
    return to_edge_transform_and_lower(program, partitioner=[GgmlPartitioner()])


@pytest.mark.parametrize("lower", [to_edge_rewrite_and_lower, plain])
def test_an_operator_without_a_kernel_is_refused(lower: Any) -> None:
    program = exported(no_kernel, torch.randn(3, 4, dtype=torch.float64))
    with pytest.raises(UnloadableError, match=r"no kernel aten::scatter_reduce\.two_out") as caught:
        lower(program)
    (finding,) = caught.value.findings
    assert (finding.kind, finding.op) == ("kernel", "aten.scatter_reduce.two")
    path, _, line = finding.source.rpartition(":")
    with open(path) as file:
        assert "the line that a refusal must name" in file.read().splitlines()[int(line) - 1]
    assert "ggml does not run it" in finding.reason
    assert isinstance(caught.value, UnsupportedError)


REFUSED: dict[str, tuple[Callable[..., Any], torch.Tensor, str]] = {
    "not in the core set": (torch.special.i0e, torch.rand(5), r"aten::special_i0e\.out"),
    "places of a median": (lambda x: torch.median(x, 1), torch.tensor([[3, 1, 2]]), r"aten::median\.dim_values"),
    "two of them": (lambda x: (torch.special.i0e(x), torch.special.i1(x)), torch.rand(5), "2 things are in the way"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_operators_without_a_kernel(name: str) -> None:
    function, x, message = REFUSED[name]
    with pytest.raises(UnloadableError, match=message):
        to_edge_rewrite_and_lower(exported(function, x))


def nearest(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(x, scale_factor=1.3)


def test_a_factor_that_keeps_small_images(tmp_path: Any) -> None:
    """ExecuTorch's kernel is right where the factor enlarges the image."""

    def sizes(least: int) -> dict[int, Dim]:
        return {2: Dim("h", min=least, max=20), 3: Dim("w", min=least, max=20)}

    with pytest.raises(UnloadableError, match="a minimum of 4"):
        to_edge_rewrite_and_lower(exported(nearest, torch.randn(1, 2, 7, 9), sizes(2)))
    program = exported(nearest, torch.randn(1, 2, 7, 9), sizes(4))
    (tmp_path / "m.pte").write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for size in ((4, 5), (20, 6)):
            x = torch.randn(1, 2, *size)
            torch.testing.assert_close(torch.as_tensor(run(x)[0]), nearest(x))


def test_a_runtime_with_more_kernels() -> None:
    program = exported(no_kernel, torch.randn(3, 4, dtype=torch.float64))
    partitioner = GgmlPartitioner(host_kernels=["aten::scatter_reduce.two_out"])
    edge = to_edge_rewrite_and_lower(program, partitioner=partitioner)
    assert any("scatter_reduce" in str(n.target) for n in edge.exported_program().graph.nodes)


def test_a_size_needs_an_upper_bound() -> None:
    program = export(nn.Linear(4, 5), (torch.randn(3, 4),), dynamic_shapes=({0: Dim.AUTO},))
    with pytest.raises(UnloadableError, match="dimension 0 has no upper bound") as caught:
        to_edge_rewrite_and_lower(program)
    assert [f.kind for f in caught.value.findings] == ["bound"]


def test_sizes_that_were_lost() -> None:
    x = torch.randn(3, 8)
    dynamic = exported(torch.relu, x, {0: Dim("n", min=1, max=9), 1: Dim("m", min=2, max=8)})
    sizes = InputSizes()
    sizes.note(dynamic)
    assert sizes.lost(dynamic) == []
    sizes.note(dynamic)
    ((node, text), (_, second)) = sizes.lost(exported(torch.relu, x))
    assert node.name == "x"
    assert "dimension 0 was exported for 1 to 9, and the lowered program takes 3 only" in text
    assert "dimension 1 was exported for 2 to 8, and the lowered program takes 8 only" in second
    sizes.note(dynamic)
    ((_, text),) = sizes.lost(exported(torch.relu, x, {0: Dim("n", min=1, max=5), 1: Dim("m", min=2, max=8)}))
    assert "takes 1 to 5 only" in text
    # A minimum of 1 is traced as 2; that is no loss. Neither is a program of other inputs.
    sizes.note(dynamic)
    assert sizes.lost(exported(torch.relu, x, {0: Dim("n", min=2, max=9), 1: Dim("m", min=2, max=8)})) == []
    assert sizes.lost(export(nn.Linear(8, 8), (x,))) == []


def test_an_operator_that_only_fails_beside_others_stays_outside(tmp_path: Any) -> None:
    """The windows' number is no size of an input of the second delegate."""
    program = exported(lambda x: x.unfold(-1, 4, 2).mean(-1), torch.randn(3, 13), {1: Dim("n", min=6, max=40)})
    (tmp_path / "m.pte").write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        for length in (13, 7, 40):
            x = torch.randn(3, length)
            torch.testing.assert_close(torch.as_tensor(run(x)[0]), x.unfold(-1, 4, 2).mean(-1))


def rows_of_integers(x: torch.Tensor) -> Any:
    table = torch.arange(16).reshape(4, 4) * 3
    floats = x.to(torch.float32).exp()  # there has to be a delegate
    return table[x], table.to(torch.int32)[x], (table > 7)[x], table.reshape(4, 2, 2)[x], table[1][x], floats


EITHER: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "nothing on the diagonal": (lambda x: torch.diagonal(x, offset=9) + 1, torch.randn(4, 4)),
    "stable sort": (lambda x: torch.sort(x, dim=-1, stable=True), torch.randn(3, 20).round()),
    "stable argsort of another dimension": (lambda x: torch.argsort(x, dim=0, stable=True), torch.randn(9, 4).round()),
    "integers": (lambda x: torch.sort(x)[0], torch.randint(-9, 9, (3, 8))),
    "double": (lambda x: torch.median(x, 1)[0], torch.randn(3, 8, dtype=torch.float64)),
    "tables of integers": (rows_of_integers, torch.tensor([3, 2, 0])),
    "positions of what is not zero": (torch.nonzero, torch.tensor([[0.0, 1, 2], [0, 0, 3]])),
    "another rank": (
        lambda x: F.conv3d(x, torch.ones(1, 1, 1, 2, 2, dtype=x.dtype)),
        torch.randn(1, 1, 1, 3, 3).double(),
    ),
    "bytes as an image": (
        lambda x: F.interpolate(x, (9, 9), mode="bilinear"),
        torch.arange(36).reshape(1, 1, 6, 6).byte(),
    ),
    "logarithms of doubles": (lambda x: torch.log_softmax(x, -1), torch.randn(3, 4).double()),
    "truth and a number": (lambda x: x + True, torch.tensor([True, False])),
    "a border cut off": (lambda x: F.pad(x, (-1, 2)), torch.arange(6).reshape(2, 3)),
    "windows": (lambda x: x.unfold(0, 3, 2).sum(-1), torch.randn(9, 2)),
}


@pytest.mark.parametrize("name", EITHER)
def test_right_or_refused_at_lowering(name: str, tmp_path: Any) -> None:
    function, x = EITHER[name]
    try:
        edge = to_edge_rewrite_and_lower(exported(function, x))
    except UnloadableError:
        return
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        wanted = torch.utils._pytree.tree_leaves(function(x))
        for got, want in zip(run(x), wanted, strict=True):
            torch.testing.assert_close(torch.as_tensor(got), want)


def test_what_executorch_gives_up_on_is_a_typed_error() -> None:
    program = exported(lambda x: torch.fft.rfft(x).abs(), torch.randn(3, 8, dtype=torch.float64))
    with pytest.raises(LoweringError, match=r"mismatched dtypes.*test_loadable\.py") as caught:
        to_edge_rewrite_and_lower(program)
    assert isinstance(caught.value, GgmlError)
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)
    report = explain(program)
    assert "mismatched dtypes" in report.failure
    assert any(n.op == "aten.fft_rfft.default" for n in report.nodes)


def test_explain_lists_what_lowering_refuses() -> None:
    program = exported(
        lambda x: (torch.special.i0e(x), torch.relu(x), x.new_ones(x.shape[0] + 1)), torch.rand(5), {0: Dim.AUTO}
    )
    report = explain(program)
    bessel = next(n for n in report.nodes if "i0e" in n.op)
    assert bessel.reason == "no lowering for this operator; no kernel in ExecuTorch either"
    assert {f.kind for f in report.findings} == {"bound", "kernel"}
    assert not report.failure
    text = str(report)
    assert "lowering refuses it" in text
    assert "has no upper bound" in text
    # Sizes are no operators.
    assert "computes a size" not in text
    assert all("sym_size" not in n.op and n.op for n in report.nodes)
    assert [f["kind"] for f in report.as_dict()["findings"]] == [f.kind for f in report.findings]


class Torn(nn.Module):
    """The state is written before what stays outside and read after it, so that no delegate can own it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.register_buffer("cache", torch.zeros(8, 4))

    def forward(self, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        self.cache.index_copy_(0, at, self.a(x))
        return self.a(torch.erf(self.a(x))) @ self.cache.T


def test_an_operator_kept_whole_in_vain_is_decomposed(tmp_path: Any) -> None:
    torch.manual_seed(0)
    net = Torn().requires_grad_(False)
    args = (torch.randn(1, 4), torch.tensor([3]))
    partitioner = GgmlPartitioner()
    edge = to_edge_rewrite_and_lower(export(net, args), partitioner=partitioner)
    assert not partitioner.taken_apart  # the next program starts afresh
    assert not explain(export(net, args)).findings
    (tmp_path / "m.pte").write_bytes(edge.to_executorch().buffer)
    with Program(tmp_path / "m.pte", threads=1) as run:
        got = torch.as_tensor(run(*args)[0])
    torch.testing.assert_close(got[:, 3], net(*args)[:, 3])  # of the row that was written


def test_a_fixed_shape_is_called_fixed(tmp_path: Any) -> None:
    (tmp_path / "m.pte").write_bytes(
        to_edge_rewrite_and_lower(exported(torch.relu, torch.ones(2, 8))).to_executorch().buffer
    )
    with Program(tmp_path / "m.pte", threads=1) as run:
        for shape in ((3, 8), (1, 8)):
            with pytest.raises(ShapeError, match=r"exported as exactly \[2, 8\]"):
                run(torch.ones(shape))
    bounded = exported(torch.relu, torch.ones(2, 8), {0: Dim("n", min=1, max=4)})
    (tmp_path / "n.pte").write_bytes(to_edge_rewrite_and_lower(bounded).to_executorch().buffer)
    with Program(tmp_path / "n.pte", threads=1) as run, pytest.raises(ShapeError, match="at most 4 is possible"):
        run(torch.ones(5, 8))


@pytest.mark.parametrize("function", [lambda x: x.masked_select(x > 0) * 2, lambda x: x[x > 1]])
def test_as_many_results_as_the_values_say(function: Callable[..., Any]) -> None:
    x = torch.randn(4, 3)
    edge = to_edge_rewrite_and_lower(exported(function, x), verify=True)
    # It loads: `verify` ran it. ExecuTorch plans the result's memory for the largest that it can be.
    assert edge.to_executorch().buffer


def test_no_limit_of_results_is_refused() -> None:
    with pytest.raises(UnloadableError, match="its result has no upper bound") as caught:
        to_edge_rewrite_and_lower(exported(torch.repeat_interleave, torch.tensor([1, 2])))
    assert caught.value.findings[0].op == "aten.repeat_interleave.Tensor"


def test_branches_are_looked_into() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda y: torch.special.i0e(y), lambda y: y + 1, (x,))

    with pytest.raises(UnloadableError, match=r"aten::special_i0e\.out"):
        to_edge_rewrite_and_lower(exported(function, torch.rand(3)))
