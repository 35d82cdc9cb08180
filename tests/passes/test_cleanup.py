"""Assertions, no-ops, common subexpressions, constants."""

from __future__ import annotations

import torch
from graph_checks import assert_same, assert_unchanged, count

from executorch_ggml.aot.passes import (
    RemoveGraphAssertsPass,
    eliminate_common_subexpressions,
    fold_constants,
    run_pre_decomposition,
    simplify,
)


def exported(module: torch.nn.Module, *args, dynamic=None):
    return torch.export.export(module.eval(), args, dynamic_shapes=dynamic).run_decompositions({})


class Plain(torch.nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def test_assertions_go() -> None:
    module = Plain(lambda x: x.to(torch.float32) * 2)
    ep = exported(module, torch.randn(3, 4))
    assert count(ep)["aten._assert_tensor_metadata.default"] > 0
    assert RemoveGraphAssertsPass()(ep) is ep
    assert count(ep)["aten._assert_tensor_metadata.default"] == 0
    assert_same(ep, module, (torch.randn(3, 4),))


def test_layouts_that_cancel() -> None:
    def there_and_back(x):
        y = x.transpose(1, 2).contiguous().transpose(-1, 1)
        y = y.reshape(2, 12).reshape(2, 3, 4).unsqueeze(0).squeeze(0)
        return torch.cat((y[..., :4], y[..., 4:]), -1).permute(0, 1, 2) * 1.0 + 1

    module = Plain(there_and_back)
    ep = exported(module, torch.randn(2, 3, 4))
    RemoveGraphAssertsPass()(ep)
    while simplify(ep):
        pass
    assert set(count(ep)) == {"aten.add.Tensor"}
    assert_same(ep, module, (torch.randn(2, 3, 4),))


def test_layouts_that_do_not_cancel() -> None:
    def turned(x):
        return x.transpose(0, 1).transpose(1, 2) + x[..., :3].transpose(0, 2).sum()

    module = Plain(turned)
    ep = exported(module, torch.randn(2, 3, 4))
    simplify(ep)
    assert count(ep)["aten.transpose.int"] == 3
    assert_same(ep, module, (torch.randn(2, 3, 4),))


def test_casts_that_change_something_stay() -> None:
    module = Plain(lambda x: x.to(torch.float16).to(torch.float32) * 3)
    ep = exported(module, torch.randn(5) * 1000)
    RemoveGraphAssertsPass()(ep)
    simplify(ep)
    assert count(ep)["aten._to_copy.default"] == 2
    assert_same(ep, module, (torch.randn(5) * 1000,))


def test_zero_is_not_dropped_from_floats() -> None:
    module = Plain(lambda x: 1.0 / (x + 0.0))
    ep = exported(module, torch.tensor([-0.0]))
    simplify(ep)
    assert ep.module()(torch.tensor([-0.0])).item() == float("inf")


def test_common_subexpressions() -> None:
    def twice(x, w):
        return torch.relu(x @ w) + torch.relu(x @ w) * torch.relu(x.mul(2.0) @ w) + torch.relu(x.mul(-2.0) @ w)

    module, args = Plain(twice), (torch.randn(3, 4), torch.randn(4, 4))
    ep = exported(module, *args)
    assert eliminate_common_subexpressions(ep)
    assert count(ep)["aten.matmul.default"] + count(ep)["aten.mm.default"] == 3
    assert_same(ep, module, args)
    assert_unchanged(ep, eliminate_common_subexpressions)


def test_zero_and_minus_zero_are_two_expressions() -> None:
    module = Plain(lambda x: (1.0 / x.clamp(min=0.0)) - (1.0 / x.clamp(min=-0.0)) + x)
    ep = exported(module, torch.ones(2))
    assert not eliminate_common_subexpressions(ep)


def test_random_numbers_are_drawn_twice() -> None:
    module = Plain(lambda x: torch.rand_like(x) - torch.rand_like(x))
    assert not eliminate_common_subexpressions(exported(module, torch.ones(2)))


def test_two_buffers_that_get_one_value_are_two_mutations() -> None:
    class Twins(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("a", torch.zeros(3))
            self.register_buffer("b", torch.ones(3))

        def forward(self, x):
            self.a.copy_(x * 2)
            self.b.copy_(x * 2)
            return self.a + self.b + x

    module, x = Twins(), torch.randn(3)
    ep = run_pre_decomposition(torch.export.export(module, (x,)))
    assert len(ep.graph_signature.buffers_to_mutate) == 2
    assert_same(ep, module, (x,), (x + 1,))


def test_an_output_that_is_an_input_stays_a_copy() -> None:
    module = Plain(lambda x: (x.clone(), x.to(torch.float32), x + 1))
    ep = run_pre_decomposition(torch.export.export(module, (torch.randn(3),)))
    got = ep.module()(torch.ones(3))
    assert [g.tolist() for g in got] == [[1.0] * 3, [1.0] * 3, [2.0] * 3]


class Weighted(torch.nn.Module):
    def __init__(self, size: int = 4) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.weight = torch.nn.Parameter(torch.randn(size, 4))
        self.register_buffer("moving", torch.zeros(4))

    def forward(self, x):
        self.moving.add_(1.0)
        return x @ (1.0 + self.weight).t() + (self.moving + 1.0).sum() + self.weight.sum()


def test_constants_are_folded_and_parameters_kept() -> None:
    module, x = Weighted(), torch.randn(2, 4)
    ep = exported(module, x)
    RemoveGraphAssertsPass()(ep)
    assert fold_constants(ep)
    assert torch.equal(ep.state_dict["weight"], module.weight)
    # What is left: the buffer's update and its use, and the sum of the result.
    assert count(ep)["aten.add.Tensor"] == 4
    assert_same(ep, module, (x,), (x,))
    assert_unchanged(ep, fold_constants)


def test_large_and_absent_parameters_are_not_folded() -> None:
    module = Weighted(1 << 13)
    ep = exported(module, torch.randn(2, 4))
    RemoveGraphAssertsPass()(ep)
    assert_unchanged(ep, fold_constants)
    with torch.device("meta"):
        absent = Weighted()
    ep = exported(absent, torch.randn(2, 4, device="meta"))
    RemoveGraphAssertsPass()(ep)
    assert_unchanged(ep, fold_constants)


def test_the_argument_of_the_pipeline_is_not_changed() -> None:
    module, x = Weighted(), torch.randn(2, 4)
    ep = torch.export.export(module, (x,))
    before, keys = str(ep.graph), set(ep.state_dict) | set(ep.constants)
    run_pre_decomposition(ep)
    assert str(ep.graph) == before
    assert set(ep.state_dict) | set(ep.constants) == keys
