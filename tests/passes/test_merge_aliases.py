"""One tensor under two names."""

from __future__ import annotations

import copy

import pytest
import torch
from graph_checks import assert_same

from executorch_ggml.aot.passes import merge_aliased_inputs, run_pre_decomposition


class Holder:
    """Something that is not a module and keeps a tensor."""

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows


class TwoNames(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(4))
        self.holder = Holder(self.rows)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.holder.rows.add_(x)
        return self.rows * 2.0

    def __deepcopy__(self, memo):
        new = TwoNames()
        new.rows.copy_(self.rows)
        return new


def exported() -> torch.export.ExportedProgram:
    return torch.export.export(TwoNames(), (torch.ones(4),), strict=False)


def test_torch_alone_cannot() -> None:
    # The day this passes, the pass has become unnecessary.
    with pytest.raises(AssertionError, match="expected compiled_fn"):
        exported().run_decompositions({})


def test_writes_reach_the_buffer() -> None:
    ep = exported()
    before = copy.copy(ep.graph_signature.input_specs)
    merged = run_pre_decomposition(ep)
    assert ep.graph_signature.input_specs == before
    assert list(merged.graph_signature.buffers_to_mutate.values()) == ["rows"]
    assert_same(merged, TwoNames(), (torch.ones(4),), (torch.full((4,), 3.0),))


def test_tensors_that_only_look_alike_stay_apart() -> None:
    class Apart(TwoNames):
        def __init__(self) -> None:
            super().__init__()
            self.holder = Holder(torch.zeros(4))

    ep = torch.export.export(Apart(), (torch.ones(4),), strict=False)
    assert merge_aliased_inputs(ep) is ep


def test_a_view_of_a_buffer_is_not_the_buffer() -> None:
    class Viewed(TwoNames):
        def __init__(self) -> None:
            super().__init__()
            self.holder = Holder(self.rows[:2])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rows * self.holder.rows.sum()

    ep = torch.export.export(Viewed(), (torch.ones(4),), strict=False)
    assert merge_aliased_inputs(ep) is ep
