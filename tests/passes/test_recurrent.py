"""Recurrent layers and cells: what the pass makes of them, and that a dynamic batch stays dynamic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from graph_checks import assert_same, count, functional
from torch import nn
from torch.export import Dim, export

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.passes import expand_recurrent, restore_ranges
from executorch_ggml.errors import UnsupportedError

pytestmark = pytest.mark.filterwarnings("ignore")

LAYER = "executorch_ggml.recurrent_layer.default"
KINDS: list[tuple[Any, dict[str, Any]]] = [
    (nn.LSTM, {}),
    (nn.GRU, {}),
    (nn.RNN, {}),
    (nn.RNN, {"nonlinearity": "relu"}),
]
CELLS: list[tuple[Any, dict[str, Any]]] = [
    (nn.LSTMCell, {}),
    (nn.GRUCell, {"bias": False}),
    (nn.RNNCell, {}),
    (nn.RNNCell, {"nonlinearity": "relu"}),
]


class All(nn.Module):
    """Outputs and last states as one vector for each entry of the batch."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        x, *states = args
        first = getattr(self.layer, "batch_first", True)
        given = (tuple(states) if len(states) > 1 else states[0],) if states else ()
        result = self.layer(x, *given)
        if isinstance(self.layer, nn.RNNBase):
            output, after = result
            lasts = after if isinstance(after, tuple) else (after,)
            parts = [output if first else output.transpose(0, 1), *(s.transpose(0, 1) for s in lasts)]
        else:
            parts = list(result) if isinstance(result, tuple) else [result]
        return torch.cat([p.flatten(1) for p in parts], 1)


def make(kind: Any, **how: Any) -> All:
    torch.manual_seed(1)
    return All(kind(3, 5, **how)).eval()


@pytest.mark.parametrize("kind, own", KINDS, ids=["lstm", "gru", "tanh", "relu"])
@pytest.mark.parametrize(
    "how",
    [{}, {"num_layers": 2, "batch_first": True}, {"bidirectional": True, "bias": False, "num_layers": 2}],
    ids=["plain", "batch first", "both ways"],
)
def test_layers(kind: Any, own: dict[str, Any], how: dict[str, Any]) -> None:
    module, x = make(kind, **own, **how), torch.randn(4, 2, 3)
    ep = functional(module, (x,))
    assert expand_recurrent(ep)
    assert count(ep)[LAYER] == how.get("num_layers", 1) * (2 if how.get("bidirectional") else 1)
    assert_same(ep, module, (x,))


@pytest.mark.parametrize(
    "kind, how, looped",
    [
        (nn.LSTM, {"proj_size": 2, "bidirectional": True}, 0),
        (nn.GRU, {"dtype": torch.float64}, 0),
    ],
    ids=["projected", "float64"],
)
def test_what_the_operator_does_not_take_becomes_plain_operators(kind: Any, how: dict[str, Any], looped: int) -> None:
    module, x = make(kind, **how), torch.randn(3, 2, 3, dtype=how.get("dtype", torch.float32))
    ep = functional(module, (x,))
    assert expand_recurrent(ep)
    assert count(ep)[LAYER] == looped
    assert not {"aten.lstm.input", "aten.gru.input"} & set(count(ep))
    assert_same(ep, module, (x,))


def test_one_step_is_no_loop() -> None:
    module, x = make(nn.LSTM), torch.randn(1, 2, 3)
    ep = functional(module, (x,))
    assert expand_recurrent(ep)
    assert not count(ep)[LAYER]
    assert_same(ep, module, (x,))


@pytest.mark.parametrize("kind, how", CELLS, ids=["lstm", "gru", "tanh", "relu"])
def test_cells(kind: Any, how: dict[str, Any]) -> None:
    module, x = make(kind, **how), torch.randn(2, 3)
    states = [torch.randn(2, 5)] * (2 if kind is nn.LSTMCell else 1)
    for args in ([x], [x, *states]):
        ep = functional(module, args)
        assert expand_recurrent(ep)
        assert not any("cell" in name for name in count(ep))
        assert_same(ep, module, args)


class Everything(nn.Module):
    """One of each kind, so that one export serves."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        layers = [
            *(kind(3, 5, batch_first=True, **own) for kind, own in KINDS),
            *(kind(3, 4, 2, batch_first=True, bidirectional=True, bias=False, **own) for kind, own in KINDS[:2]),
            nn.LSTM(3, 37, batch_first=True),
            nn.GRU(3, 70, batch_first=True),
            nn.LSTM(3, 5, proj_size=2, batch_first=True),
        ]
        self.layers = nn.ModuleList(All(layer) for layer in layers)
        self.cells = nn.ModuleList(All(kind(3, 5, **own)) for kind, own in CELLS)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> list[torch.Tensor]:
        given = self.layers[1](x, h.unsqueeze(0)), self.layers[0](x, h.unsqueeze(0), h.unsqueeze(0) * 2)
        cells = [c(x[:, 0], *([h] * (2 if i == 0 else 1))) for i, c in enumerate(self.cells)]
        return [*(layer(x) for layer in self.layers), *given, *cells]


def save(module: nn.Module, args: Any, dynamic: Any, path: Path) -> Any:
    edge = to_edge_rewrite_and_lower(export(module.eval(), args, dynamic_shapes=dynamic))
    path.write_bytes(edge.to_executorch().buffer)
    return edge


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    batch = Dim("b", min=1, max=33)
    module, path = Everything().eval(), tmp_path_factory.mktemp("recurrent") / "all.pte"
    edge = save(module, (torch.randn(2, 6, 3), torch.randn(2, 5)), ({0: batch}, {0: batch}), path)
    left = {str(n.target) for n in edge.exported_program().graph.nodes if n.op == "call_function"}
    assert not {n for n in left if "getitem" not in n and "delegate" not in n and "sym_size" not in n}
    return module, path


@pytest.mark.parametrize("threads", [1, 2])
def test_every_batch_of_the_range_is_right(everything: tuple[nn.Module, Path], threads: int) -> None:
    module, path = everything
    with Program(path, threads=threads) as running:
        for batch in (1, 2, 3, 7, 33):
            args = torch.randn(batch, 6, 3), torch.randn(batch, 5)
            with torch.no_grad():
                want = module(*args)
            for got, expected in zip(running(*args), want, strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kernels", ["none", ""], ids=["nodes for each step", "one node"])
def test_values_that_are_no_numbers_stay_in_their_row(
    everything: tuple[nn.Module, Path], kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, path = everything
    monkeypatch.setenv("EXECUTORCH_GGML_KERNELS", kernels)
    x, h = torch.randn(3, 6, 3), torch.randn(3, 5)
    x[1, 3, 0], x[2, 2, 1] = float("nan"), 1e9
    with torch.no_grad(), Program(path, threads=1) as running:
        for got, expected in zip(running(x, h), module(x, h), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-6, equal_nan=True)


def test_a_long_sequence_is_a_few_nodes(tmp_path: Path) -> None:
    module, x = make(nn.GRU, batch_first=True), torch.randn(1, 480, 3)
    ep = functional(module, (x,))
    expand_recurrent(ep)
    assert count(ep)["executorch_ggml.recurrent_layer.default"] == 1
    assert sum(count(ep).values()) == 13
    save(module, (x,), None, tmp_path / "long.pte")
    with torch.no_grad(), Program(tmp_path / "long.pte", threads=1) as running:
        torch.testing.assert_close(running(x)[0], module(x), rtol=1e-5, atol=1e-5)


def test_a_range_that_another_lowering_lost_comes_back() -> None:
    batch = Dim("b", min=1, max=64)
    args = torch.randn(2, 3), torch.randn(2, 5)
    exported = export(make(nn.GRUCell), args, dynamic_shapes=(({0: batch}, {0: batch}),))
    sizes = [n.meta["val"].shape[0] for n in exported.graph.nodes if n.op == "placeholder"][-2:]
    assert not restore_ranges(exported)
    # What a decomposition does that asks for the value of a size.
    assert [int(s) for s in sizes] == [2, 2]
    assert exported.graph_module.code  # the program itself says nothing of it
    assert restore_ranges(exported)
    assert sizes[0] == sizes[1]
    assert not isinstance(sizes[0].node.maybe_as_int(), int)


def test_packed_sequences_are_refused() -> None:
    ep = functional(make(nn.GRUCell), (torch.randn(2, 3),))
    node = next(n for n in ep.graph.nodes if n.op == "call_function")
    node.target = torch.ops.aten.gru.data
    with pytest.raises(UnsupportedError, match="packed sequence"):
        expand_recurrent(ep)
