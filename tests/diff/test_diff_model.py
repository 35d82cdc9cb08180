"""diff_model: right programs pass, and what is broken on purpose is named, with its place and its cause."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from executorch_ggml import GgmlPartitioner, GgmlQuantConfig, InvalidArgumentError
from executorch_ggml.analysis.diff import diff_model

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.a(x))
        waves = torch.sin(hidden)  # the line that a wrong sine must name
        mixed = torch.erf(waves) + hidden.transpose(0, 1).transpose(0, 1)  # erf is not ours
        return self.b(mixed) * ids


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 8), torch.tensor([3])


def test_a_right_program_passes() -> None:
    report = diff_model(Net(), inputs())
    assert report.ok, report
    assert report.first is None
    nodes = [v for v in report.values if v.stage == "node"]
    assert {"aten.linear.default", "aten.sin.default", "aten.relu.default"} <= {v.op for v in nodes}
    assert {v.delegate for v in nodes} == {0, 1}  # on both sides of the erf
    assert any(v.stage == "input" and "erf" in v.name for v in report.values), report
    assert [v.name for v in report.values if v.stage == "output"] == ["output 0"]
    assert all(0 <= v.errors.nmse < 1e-10 for v in report.values)
    sine = next(v for v in nodes if v.op == "aten.sin.default")
    assert "the line that a wrong sine must name" in sine.code
    assert (sine.shape, sine.dtype) == ((5, 16), "float32")


def wrong_sine(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from executorch_ggml.aot import lower_nodes
    from executorch_ggml.ir.builder import UnaryKind

    def cosine(builder: Any, n: Any) -> Any:
        return builder.unary(UnaryKind.COS, n.tensor("self"))

    sine = lower_nodes.lookup(torch.ops.aten.sin.default)
    assert sine is not None
    broken = replace(sine, lower=cosine)
    real = lower_nodes.lookup
    monkeypatch.setattr(lower_nodes, "lookup", lambda target: broken if "sin." in str(target) else real(target))


def test_a_wrong_lowering_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_sine(monkeypatch)
    report = diff_model(Net(), inputs())
    assert not report.ok
    first = report.first
    assert first is not None
    assert (first.op, first.stage, first.delegate) == ("aten.sin.default", "node", 0)
    assert "the line that a wrong sine must name" in first.code
    assert first.errors.nmse > 0.1
    assert report.verdict.startswith("the lowering")
    # What comes before it is right, what comes behind it is wrong as well, and is not the first.
    over = [v.op for v in report.values if not v.errors.within]
    behind = ["placeholder", "aten.add.Tensor", "aten.linear.default", "aten.mul.Tensor", "output"]
    assert over == ["aten.sin.default", *behind]  # a placeholder is what the host hands to the second delegate
    text = str(report)
    assert "over tolerance; the first:" in text
    assert "test_diff_model.py:" in text
    assert report.worst(3)[0].errors.nmse >= report.worst(3)[1].errors.nmse


def test_a_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's values are changed on their way here, as a wrong kernel would change them."""
    from executorch_ggml.analysis.diff import native

    real: Callable[..., Any] = native.Program.watch

    def watch(self: Any, method: str, given: Any, see: Callable[[Any], None]) -> Any:
        from dataclasses import replace

        from executorch_ggml.ir.serialize import deserialize
        from executorch_ggml.runtime.program import payloads

        graph = deserialize(payloads(self.path)[0].data)
        (sine,) = (i for i, n in enumerate(graph.nodes) if type(n.op).__name__ == "UnaryT" and n.op.kind == 24)

        def changed(value: Any) -> None:
            broken = value.kind == "node" and (value.delegate, value.index) == (0, sine)
            see(replace(value, data=value.data * 1.5) if broken else value)

        return real(self, method, given, changed)

    monkeypatch.setattr(native.Program, "watch", watch)
    report = diff_model(Net(), inputs())
    first = report.first
    assert first is not None
    assert first.op == "aten.sin.default"
    assert first.errors.nmse == pytest.approx(0.25)
    assert report.verdict.startswith("the kernel")


def test_a_wrong_rewrite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph that is lowered is not the model's: ggml computes it faithfully, and the report says where."""
    partitioner = GgmlPartitioner()
    real = partitioner.transform_for_pre_decomposition

    def rewrite(program: Any) -> Any:
        program = real(program)
        for node in program.graph.nodes:
            if node.target is torch.ops.aten.sin.default:
                node.target = torch.ops.aten.cos.default
        program.graph_module.recompile()
        return program

    monkeypatch.setattr(partitioner, "transform_for_pre_decomposition", rewrite)
    report = diff_model(Net(), inputs(), partitioner=partitioner)
    first = report.first
    assert first is not None
    assert (first.stage, first.op) == ("rewrite", "aten.sin.default")
    assert "the line that a wrong sine must name" in first.code
    # ggml's own values agree with the graph it was given.
    assert all(v.errors.within for v in report.values if v.stage == "node")


def test_quantised_weights_are_compared_with_what_was_stored() -> None:
    net = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32)).eval()
    torch.manual_seed(0)
    x = torch.randn(4, 256)
    report = diff_model(net, (x,), partitioner=GgmlPartitioner(quant=GgmlQuantConfig("Q4_0")))
    assert report.ok, report
    assert report.reference == "eager with the weights as quantised"
    # Q4_0 against the original weights would be near 1e-2.
    assert max(v.errors.nmse for v in report.values) < 1e-3
    assert report.tolerance.nmse > diff_model(net, (x,)).tolerance.nmse


def test_products_that_took_in_what_follows_them() -> None:
    """A fused product holds the activation's value and not its own."""

    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.conv = nn.Linear(8, 16), nn.Linear(16, 16), nn.Conv2d(1, 3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = torch.clamp(torch.nn.functional.gelu(self.a(x)), 0.1, 0.7)
            hidden = torch.relu(self.b(hidden).reshape(1, 1, 5, 16))
            return torch.nn.functional.relu6(self.conv(hidden)) * 2.0

    torch.manual_seed(0)
    report = diff_model(Fused(), (torch.randn(5, 8),))
    assert report.ok, report
    compared = {v.op for v in report.values if v.stage == "node"}
    assert {"aten.clamp.default", "aten.relu.default", "aten.hardtanh.default"} <= compared, compared
    assert not {"aten.gelu.default", "aten.linear.default", "aten.conv2d.default"} & compared
    assert report.not_compared >= 4


def test_states_start_anew() -> None:
    class Counter(nn.Module):
        total: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("total", torch.full((4,), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.total.add_(x)
            return self.total * 2.0

    report = diff_model(Counter(), (torch.ones(4),))
    assert report.ok, report


def test_keyword_inputs_and_limits() -> None:
    class Net(nn.Module):
        def forward(self, x: torch.Tensor, *, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            return torch.exp(x) * scale + bias

    torch.manual_seed(0)
    kwargs = {"bias": torch.randn(3), "scale": torch.randn(3)}
    report = diff_model(Net(), (torch.randn(2, 3),), kwargs)
    assert report.ok, report
    strict = diff_model(Net(), (torch.randn(2, 3),), kwargs, nmse=0.0, peak=0.0)
    assert (strict.tolerance.nmse, strict.tolerance.peak) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_and_arguments_that_are_no_tensors(dtype: torch.dtype) -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.norm, self.table = nn.Linear(64, 64), nn.LayerNorm(64), nn.Embedding(10, 64)

        def forward(self, x: torch.Tensor, ids: torch.Tensor, times: int, mask: torch.Tensor | None = None) -> Any:
            hidden = torch.softmax(self.norm(self.fc(x + self.table(ids))), -1) * times
            return {"hidden": hidden, "best": hidden.argmax(-1)}

    torch.manual_seed(0)
    report = diff_model(Half().to(dtype), (torch.randn(3, 64, dtype=dtype), torch.tensor([1, 2, 3]), 2, None))
    assert report.ok, report
    # Eager rounds each result to the type, ggml computes in float32: they differ, by as much as the type is coarse.
    worst = max(v.errors.nmse for v in report.values)
    assert 1e-9 < worst < report.tolerance.nmse / 10
    assert {v.dtype for v in report.values if v.stage == "output"} == {str(dtype).removeprefix("torch."), "int64"}


def test_unusable() -> None:
    with pytest.raises(InvalidArgumentError, match="needs inputs"):
        diff_model(Net())

    class Integers(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 3

    with pytest.raises(InvalidArgumentError, match="nothing was delegated"):
        diff_model(Integers(), (torch.tensor([1, 2]),))
