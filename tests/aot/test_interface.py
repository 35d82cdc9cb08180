"""What crosses a program's border: constants and inputs as results, None, containers, numbers, many results."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.export import export
from torch.utils import _pytree as pytree

from executorch_ggml import GgmlPartitioner, Program, to_edge_rewrite_and_lower
from executorch_ggml.errors import InvalidArgumentError, UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")


class Model(nn.Module):
    """A layer, constants of every kind, and a function of them and the arguments."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("table", torch.rand(1, 4))
        self.register_buffer("hidden", torch.rand(1, 4), persistent=False)
        self.register_buffer("steps", torch.arange(4))
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        return self.function(self, *arguments)


def run(model: nn.Module, arguments: tuple[Any, ...], folder: Path, **options: Any) -> list[Any]:
    exported = export(model.eval(), arguments)
    edge = to_edge_rewrite_and_lower(exported, partitioner=GgmlPartitioner(**options))
    path = folder / "interface.pte"
    path.write_bytes(edge.to_executorch().buffer)
    return Program(path, threads=1)(*pytree.tree_leaves(arguments))


def assert_as_eager(model: nn.Module, arguments: tuple[Any, ...], folder: Path, **options: Any) -> None:
    got = run(model, arguments, folder, **options)
    with torch.no_grad():
        want = model(*(a.clone() if isinstance(a, torch.Tensor) else a for a in arguments))
    leaves = pytree.tree_leaves(want) if not isinstance(want, tuple) else list(want)
    leaves = [leaf for item in leaves for leaf in ([item] if item is None else pytree.tree_leaves(item))]
    assert len(got) == len(leaves)
    for one, other in zip(got, leaves, strict=True):
        if other is None:
            assert one is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rewrites", [True, False])
@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: (m.layer(x), m.layer.weight),
        lambda m, x: (m.layer(x) * m.scale, m.scale, m.scale),
        lambda m, x: (m.layer(x) * m.scale.exp(), m.scale.exp()),
        lambda m, x: (m.table, m.layer(x) + m.table, m.hidden, m.layer.weight.t(), m.layer.bias[None]),
        lambda m, x: (m.norm(x), m.norm.running_mean, m.steps),
        lambda m, x: m.layer.weight,
    ],
)
def test_constants_are_used_and_returned(function: Callable[..., Any], rewrites: bool, tmp_path: Path) -> None:
    assert_as_eager(Model(function), (torch.rand(3, 4),), tmp_path, rewrites=rewrites)


def test_a_constant_of_a_file_is_returned(tmp_path: Path) -> None:
    """The program has no data of it: the delegate hands it out."""
    import gguf

    model = Model(lambda m, x: (m.layer(x), m.layer.weight)).eval()
    edge = to_edge_rewrite_and_lower(export(model, (torch.rand(3, 4),)), partitioner=GgmlPartitioner("external"))
    (tmp_path / "external.pte").write_bytes(edge.to_executorch().buffer)
    writer = gguf.GGUFWriter(tmp_path / "weights.gguf", "test")
    for name, data in model.named_parameters():
        writer.add_tensor(name, data.detach().reshape(-1, 1).numpy() if data.dim() == 0 else data.detach().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    x = torch.rand(3, 4)
    got = Program(tmp_path / "external.pte", tmp_path / "weights.gguf", threads=1)(x)
    torch.testing.assert_close(got[0], model(x)[0])
    assert torch.equal(got[1], model.layer.weight)


@pytest.mark.parametrize(
    "function",
    [
        lambda m, a, b: (b, a),
        lambda m, a, b: (m.layer(a), b, m.layer(a)),
        lambda m, a, b: (m.layer(a), None, b + 1),
        lambda m, a, b: a.add_(b),
        lambda m, a, b: m.layer(a.mul_(2)) + b.relu_(),
        lambda m, a, b: (m.layer(a), (a.shape[0], 2.5, True)),
    ],
)
def test_arguments_and_nothing_are_returned(function: Callable[..., Any], tmp_path: Path) -> None:
    assert_as_eager(Model(function), (torch.rand(3, 4), torch.rand(3, 4)), tmp_path)


def test_a_model_that_only_changes_its_argument_is_refused(tmp_path: Path) -> None:
    class Into(nn.Module):
        def forward(self, x: torch.Tensor, out: torch.Tensor) -> None:
            out.copy_(x * 2)

    with pytest.raises(UnsupportedError, match="changes its argument 'out'"):
        run(Into(), (torch.rand(3), torch.rand(3)), tmp_path)


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


Point = namedtuple("Point", "x y")


class Own:
    """A container that a model registers without a name to write."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value


pytree.register_pytree_node(Own, lambda o: ([o.value], None), lambda values, _: Own(*values))


def test_containers_without_a_name_are_written(tmp_path: Path) -> None:
    model = Model(lambda m, p: {"a": [Pair(p.x * 2, p.y + 1)], "b": Own(p.x - 1)})
    assert_as_eager(model, (Point(torch.rand(3, 4), torch.rand(3, 4)),), tmp_path)


def test_an_open_number_is_refused(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor, n: int) -> torch.Tensor:
            return x * n

    program = export(Scaled(), (torch.rand(3), 5), dynamic_shapes=(None, torch.export.Dim.AUTO))
    with pytest.raises(UnsupportedError, match=r"input 'n' is a Python number.*tensor instead"):
        to_edge_rewrite_and_lower(program)
    assert_as_eager(Scaled(), (torch.rand(3), 5), tmp_path)


def test_many_results(tmp_path: Path) -> None:
    model = Model(lambda m, x: (m.layer(x), *[x] * 300))
    assert len(run(model, (torch.rand(1, 4),), tmp_path)) == 301


def test_arguments_without_elements_in_memory_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "interface.pte"
    run(Model(lambda m, x: m.layer(x)), (torch.rand(3, 4),), tmp_path)
    program = Program(path, threads=1)
    for bad in (torch.rand(3, 4).to_sparse(), torch.empty(3, 4, device="meta")):
        with pytest.raises(InvalidArgumentError, match="no dense elements"):
            program(bad)
    with pytest.raises(InvalidArgumentError, match="not None"):
        program(None)
    x = torch.rand(3, 4)
    assert torch.equal(program(torch._neg_view(-x))[0], program(x)[0])
