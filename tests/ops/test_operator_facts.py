"""Facts of operators (`registry.Facts`): bounds of integers hold for operators that write, and names do not collide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from executorch_ggml import Program, to_edge_rewrite_and_lower
from executorch_ggml.aot.integer_rules import first
from executorch_ggml.aot.registry import bounds_rule, either_side, entries, flops_rule, operator_name

BIG = torch.tensor([2**24 + 1, 2**30 + 1])
AT = torch.tensor([1, 2])
MASK = torch.tensor([False, True, True, False])


class Writes(nn.Module):
    """Large values written among the zeros of a constant, whose bounds alone would say that all is zero."""

    def __init__(self, write: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.write = write
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))

    def forward(self, at: torch.Tensor, values: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.write(self.zeros, at, values)
        return (y + 1) * 2, x * 2.0 + (y - 1).to(torch.float32)


WRITES: dict[str, Callable[..., Any]] = {
    "index_copy": lambda z, at, v: z.index_copy(0, at, v),
    "index_add": lambda z, at, v: z.index_add(0, at, v),
    "index_put": lambda z, at, v: torch.index_put(z, (at,), v),
    "index_put, accumulate": lambda z, at, v: torch.index_put(z, (at,), v, accumulate=True),
    "scatter": lambda z, at, v: z.scatter(0, at, v),
    "scatter_add": lambda z, at, v: z.scatter_add(0, at, v),
    "slice_scatter": lambda z, at, v: z.slice_scatter(v, 0, 1, 3),
    "select_scatter": lambda z, at, v: z.select_scatter(v[0], 0, 2),
    "where": lambda z, at, v: torch.where(MASK, torch.cat([v, v]), z),
    "masked_fill": lambda z, at, v: z.masked_fill(MASK, v[0]),
    "clamp from below": lambda z, at, v: torch.clamp(z, min=torch.cat([v, v])),
    "clamp from above": lambda z, at, v: torch.clamp(z + 9, max=torch.cat([v, v]) - 2**24),
    "clamp_min": lambda z, at, v: torch.clamp_min(z, torch.cat([v, v])),
    "clamp to one number": lambda z, at, v: torch.clamp(z, torch.cat([v, v]), torch.cat([v, v]) + 1),
    "clamp between numbers": lambda z, at, v: torch.clamp(torch.cat([v, v]), -5, 7),
    "clamp with crossed limits": lambda z, at, v: torch.clamp(torch.cat([v, v]), 7, -5),
    "maximum": lambda z, at, v: torch.maximum(z, torch.cat([v, v])),
    "index_fill": lambda z, at, v: z.index_fill(0, at, 2**30 + 1),
    "masked_scatter": lambda z, at, v: z.masked_scatter(MASK, v),
    "pad": lambda z, at, v: torch.nn.functional.pad(z[:2], (1, 1), value=2**30 + 1),
    "cat": lambda z, at, v: torch.cat([z[:2], v]),
    "stack": lambda z, at, v: torch.stack([z[0], v[0], v[1], z[3]]),
    "in place": lambda z, at, v: z.clone().index_copy_(0, at, v),
    "assignment": lambda z, at, v: _assigned(z, at, v),
}


def _assigned(z: torch.Tensor, at: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    y = z.clone()
    y[at] = v
    return y


@pytest.mark.parametrize("name", WRITES)
def test_bounds_of_what_was_written(name: str, tmp_path: Path) -> None:
    model = Writes(WRITES[name])
    inputs = (AT, BIG, torch.randn(4))
    program = torch.export.export(model, inputs)
    pte = tmp_path / "m.pte"
    pte.write_bytes(to_edge_rewrite_and_lower(program).to_executorch().buffer)
    with Program(pte, threads=1) as loaded:
        found = loaded.execute("forward", list(inputs))
    for got, want in zip(found, model(*inputs), strict=True):
        torch.testing.assert_close(torch.as_tensor(got), want)


def test_a_copy_at_the_end_of_a_name() -> None:
    """`view_copy` is `view`; `index_copy` writes and is no `index`."""
    assert bounds_rule(torch.ops.aten.view_copy.default) is first
    assert bounds_rule(torch.ops.aten.index.Tensor) is first
    assert bounds_rule(torch.ops.aten.index_copy.default) is not first


def test_operators_of_other_packages_have_their_own_names() -> None:
    """A stranger's `add` may do anything with integers."""
    library = torch.library.Library("somebody", "FRAGMENT")
    library.define("add(Tensor x, Tensor y) -> Tensor")
    assert bounds_rule(torch.ops.aten.add.Tensor) is not None
    assert bounds_rule(torch.ops.somebody.add.default) is None
    assert flops_rule(torch.ops.somebody.add.default) is None
    assert not either_side(torch.ops.somebody.add.default)


def test_overloads_of_one_operator_agree() -> None:
    """A rule is looked up by the operator's name, so overloads must not state different ones."""
    rules: dict[str, set[Any]] = {}
    for entry in entries():
        if entry.facts.bounds is not None and not hasattr(entry.facts.bounds, "__closure__"):
            rules.setdefault(operator_name(entry.target), set()).add(entry.facts.bounds)
    assert {name: found for name, found in rules.items() if len(found) > 1} == {}


def test_facts_without_a_lowering() -> None:
    assert bounds_rule(torch.ops.aten.remainder.Scalar) is not None
    assert flops_rule(torch.ops.aten.lstm.input) is not None
    assert bounds_rule(torch.ops.aten.erfinv.default) is None


@pytest.mark.parametrize("name", ["_to_copy", "dim_order_ops._to_dim_order_copy", "dim_order_ops._clone_dim_order"])
def test_copies_of_both_dialects_keep_bounds(name: str) -> None:
    operators: Any = torch.ops
    for part in name.split(".") if "." in name else ("aten", name):
        operators = getattr(operators, part)
    assert bounds_rule(operators.default) is not None
    assert either_side(operators.default)


def test_facts_are_there_before_any_lookup(run_python: Callable[[str], str]) -> None:
    """The boundary asked first in a process and found that no operator could stay on either side."""
    functions = "bounds_rule, either_side, flops_rule"
    code = f"import torch; from executorch_ggml.aot.registry import {functions}; "
    for question in (
        "either_side(aten.view_copy.default)",
        "flops_rule(aten.mm.default)",
        "bounds_rule(aten.clamp.default)",
    ):
        assert run_python(f"{code}aten = torch.ops.aten; print(bool({question}))").split() == ["True"]
