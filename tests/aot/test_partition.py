"""Cutting a graph around what stays with ExecuTorch: number of delegates, reasons, states, results."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import ReferenceExecutor, delegates
from executorch_ggml.aot.partitioner import GgmlPartitioner
from executorch_ggml.ir.serialize import deserialize

pytestmark = pytest.mark.filterwarnings("ignore")


def lower(module: nn.Module, args: tuple[Any, ...], dynamic: Any = None, **options: Any) -> tuple[Any, Any]:
    from executorch.exir import to_edge_transform_and_lower

    program = export(module.eval(), args, dynamic_shapes=dynamic, strict=False)
    partitioner = GgmlPartitioner(rewrites=False, **options)
    edge = to_edge_transform_and_lower(program, partitioner=[partitioner])
    return edge.exported_program(), partitioner


def host_ops(program: Any) -> list[str]:
    names = [getattr(n.target, "__name__", str(n.target)) for n in program.graph.nodes if n.op == "call_function"]
    return [n for n in names if n not in ("executorch_call_delegate", "getitem")]


class Block(nn.Module):
    """A residual block with one operator that ggml has no exact function for."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(torch.erf(self.a(x)))


def test_an_unsupported_operator_in_every_residual_block_costs_one_cut_each() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*[Block() for _ in range(6)])
    x = torch.randn(3, 8)
    program, partitioner = lower(model, (x,))
    assert host_ops(program) == ["aten.erf.default"] * 6
    assert len(delegates(program)) == 7
    refused = [r for r in partitioner.decisions.reasons.values() if r]
    assert refused == ["no lowering for this operator"] * 6
    assert nmse(ReferenceExecutor(program)(x)[0], model(x)) < 1e-12


def test_parallel_branches_share_one_delegate() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.a(x)) + torch.erf(x) * self.b(x) + self.c(torch.erf(x))

    torch.manual_seed(0)
    model, x = Branches(), torch.randn(2, 4)
    program, _ = lower(model, (x,))
    assert len(delegates(program)) == 1
    assert host_ops(program) == ["aten.erf.default"] * 2
    assert nmse(ReferenceExecutor(program)(x)[0], model(x)) < 1e-12


def test_partitions_that_only_move_data_are_not_made() -> None:
    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(x.view(4, 6).permute(1, 0)).unsqueeze(0)

    program, partitioner = lower(Moves(), (torch.randn(2, 12),))
    assert not delegates(program)
    assert "only moves data between operators that are not delegated" in partitioner.decisions.reasons.values()


def test_a_program_that_only_moves_data_is_delegated_whole() -> None:
    class Moves(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x.view(4, 6).permute(1, 0), x[:, 2:9:3]

    x = torch.randn(2, 12)
    program, _ = lower(Moves(), (x,))
    assert len(delegates(program)) == 1
    for got, want in zip(ReferenceExecutor(program)(x), Moves()(x), strict=True):
        assert torch.equal(got, want)


def test_constants_do_not_cross_between_delegates() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(6, 5))
            self.l = nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erf(self.l(x)) @ self.w.reshape(5, 6)

    torch.manual_seed(0)
    model, x = Late(), torch.randn(3, 5)
    program, _ = lower(model, (x,))
    first, second = (deserialize(m.processed_bytes) for m in delegates(program).values())
    assert len(first.outputs) == 1
    assert len(second.inputs) == 1
    assert nmse(ReferenceExecutor(program)(x)[0], model(x)) < 1e-12


def test_integers_stay_with_executorch() -> None:
    class Mixed(nn.Module):
        def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.relu(x) * 2.0, n * 3 + 20

    model, args = Mixed(), (torch.randn(3, 4), torch.tensor([1, 2**40, -5]))
    program, _ = lower(model, args)
    got, want = ReferenceExecutor(program)(*args), model(*args)
    assert torch.equal(got[1], want[1])
    assert nmse(got[0], want[0]) < 1e-12


class Counter(nn.Module):
    """Two buffers, both read and written; the order of reads and writes matters."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.register_buffer("total", torch.full((4,), start))
        self.register_buffer("last", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = self.total * 1.0
        self.total.add_(x)
        old = self.last.clone()
        self.last.copy_(self.total * 0.5)
        return before + 10 * self.total + 100 * old


@pytest.mark.parametrize("start", [0.0, 2.5])
def test_states_live_in_the_delegate_and_keep_their_initial_value(start: float) -> None:
    model = Counter(start)
    x = torch.arange(4.0)
    program, _ = lower(Counter(start), (x,))
    (module,) = delegates(program).values()
    graph = deserialize(module.processed_bytes)
    assert sorted(s.name.decode() if isinstance(s.name, bytes) else s.name for s in graph.states) == ["last", "total"]
    assert bool(any(s.initial for s in graph.states)) == (start != 0.0)
    run = ReferenceExecutor(program)
    for step in range(3):
        want = model(x + step)
        assert nmse(run(x + step)[0], want) < 1e-12


def test_a_state_that_is_also_a_result() -> None:
    class Returned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.add_(x)
            return self.total

    model, x = Returned(), torch.arange(4.0)
    program, _ = lower(Returned(), (x,))
    run = ReferenceExecutor(program)
    for _ in range(3):
        assert torch.equal(run(x)[0], model(x))


def test_swapped_states() -> None:
    class Swap(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("a", torch.ones(3))
            self.register_buffer("b", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a, b = self.a.clone(), self.b.clone()
            self.a.copy_(b)
            self.b.copy_(a)
            return x + a + 10 * b

    model, x = Swap(), torch.zeros(3)
    program, _ = lower(Swap(), (x,))
    run = ReferenceExecutor(program)
    for _ in range(3):
        assert torch.equal(run(x)[0], model(x))


def test_a_buffer_torn_apart_by_the_cut_stays_with_executorch() -> None:
    class Torn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.zeros(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(self.total * 2.0)
            self.total.add_(torch.erf(y) + torch.relu(x))
            return y + 1.0

    model, x = Torn(), torch.randn(4)
    program, partitioner = lower(Torn(), (x,))
    assert partitioner.decisions.not_owned == {"total"}
    run = ReferenceExecutor(program)
    for _ in range(3):
        assert nmse(run(x)[0], model(x)) < 1e-12


def test_sizes_follow_from_expressions_of_the_input() -> None:
    class Sized(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n = x.shape[0]
            y = torch.erf(torch.cat([x, x[:1]], 0))  # n + 1 rows, computed on the host
            return torch.relu(y)[:n].reshape(n * 2, 2) * 3.0

    n = Dim("n", min=1, max=12)
    model, x = Sized(), torch.randn(5, 4)
    program, _ = lower(model, (x,), ({0: n},))
    run = ReferenceExecutor(program)
    for size in (1, 2, 5, 12):
        x = torch.randn(size, 4)
        assert nmse(run(x)[0], model(x)) < 1e-12


def test_weights_without_data_are_external() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
    program, _ = lower(
        model, (torch.randn(1, 4, device="meta"),), weight_alternatives={"2.weight": ["head.weight", "tied.weight"]}
    )
    (module,) = delegates(program).values()
    assert module.named_data_store_output is None or not module.named_data_store_output.pte_data
    graph = deserialize(module.processed_bytes)
    keys = {tuple(_text(k) for k in p.keys) for s in graph.weights for p in s.parts}
    assert keys == {("0.weight",), ("head.weight", "tied.weight"), ("2.bias",)}
    assert all(s.type == 255 for s in graph.weights)


def test_weights_external_on_request_and_embedded_on_request() -> None:
    program, _ = lower(nn.Linear(4, 2), (torch.randn(1, 4),), weights="external")
    (module,) = delegates(program).values()
    assert module.named_data_store_output is None or not module.named_data_store_output.pte_data
    with torch.device("meta"):
        model = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="no data"):
        lower(model, (torch.randn(1, 4, device="meta"),), weights="embedded")
    with pytest.raises(ValueError, match="weights must be"):
        GgmlPartitioner(weights="elsewhere")


def test_tied_weights_are_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(11, 6)
            self.head = nn.Linear(6, 11, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(ids))

    model, ids = Tied(), torch.tensor([[1, 2], [3, 10]])
    program, _ = lower(model, (ids,))
    (module,) = delegates(program).values()
    assert len(module.named_data_store_output.pte_data) == 1
    assert nmse(ReferenceExecutor(program)(ids)[0], model(ids)) < 1e-12


def test_methods_share_weights_and_may_have_constants_of_their_own() -> None:
    from executorch.exir import to_edge_transform_and_lower

    class Scaled(nn.Module):
        def __init__(self, inner: nn.Module, factor: float) -> None:
            super().__init__()
            self.inner, self.factor = inner, factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * torch.tensor([self.factor, 1.0, 2.0, 3.0])

    inner = nn.Linear(4, 4)
    models = {"one": Scaled(inner, 5.0).eval(), "two": Scaled(inner, 7.0).eval()}
    x = torch.randn(2, 4)
    programs = {k: export(m, (x,), strict=False) for k, m in models.items()}
    edge = to_edge_transform_and_lower(programs, partitioner=[GgmlPartitioner()])
    for name, model in models.items():
        assert nmse(ReferenceExecutor(edge.exported_program(name))(x)[0], model(x)) < 1e-12
    assert len(edge.to_executorch().buffer) < 6000


def test_methods_of_different_models_may_use_one_name_for_different_weights() -> None:
    from executorch.exir import to_edge_transform_and_lower

    models = {"one": nn.Linear(4, 4).eval(), "two": nn.Linear(4, 4).eval()}
    x = torch.randn(2, 4)
    programs = {k: export(m, (x,), strict=False) for k, m in models.items()}
    edge = to_edge_transform_and_lower(programs, partitioner=[GgmlPartitioner()])
    edge.to_executorch()
    for name, model in models.items():
        assert nmse(ReferenceExecutor(edge.exported_program(name))(x)[0], model(x)) < 1e-12


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
