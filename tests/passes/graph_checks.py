"""What the tests of the passes share: prepare a program, apply passes, compare with eager."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

from executorch_ggml.aot.passes import remove_asserts, simplify

Pass = Callable[[ExportedProgram], bool]


def functional(module: torch.nn.Module, args: Sequence[Any], dynamic: Any = None) -> ExportedProgram:
    """The program as the passes see it: functional, without assertions and layout noise."""
    exported = torch.export.export(module.eval(), tuple(args), dynamic_shapes=dynamic)
    ep = exported.run_decompositions({})
    remove_asserts(ep)
    simplify(ep)
    return ep


def count(ep: ExportedProgram) -> Counter[str]:
    """Calls per operator."""
    return Counter(str(n.target) for n in ep.graph.nodes if n.op == "call_function")


def run(ep: ExportedProgram, *args: Any) -> Any:
    """One call from the initial state."""
    return copy.deepcopy(ep).module()(*args)


def assert_same(ep: ExportedProgram, module: torch.nn.Module, *calls: Sequence[Any], tolerance: float = 1e-6) -> None:
    """The program gives what the module gives, call after call (state included), relative to the largest value.

    The program must also survive what ExecuTorch does next.
    """
    reference, candidate = copy.deepcopy(module).eval(), copy.deepcopy(ep).module()
    again = copy.deepcopy(ep).run_decompositions({}).module()
    with torch.no_grad():
        for args in calls:
            expected = reference(*args)
            scale = max(expected.abs().max().item(), 1e-30)
            for got in (candidate(*args), again(*args)):
                assert got.shape == expected.shape
                assert got.dtype == expected.dtype
                assert (got - expected).abs().max().item() <= tolerance * scale
    buffers = dict(candidate.named_buffers())
    for name, expected in reference.named_buffers():
        # torch gives a buffer of a tied or renamed module another name at times; those that kept theirs must agree.
        if name in buffers and expected.is_floating_point():
            torch.testing.assert_close(buffers[name], expected, rtol=1e-5, atol=1e-6)


def assert_unchanged(ep: ExportedProgram, apply: Pass) -> None:
    """The pass leaves the program alone and says so."""
    before = str(ep.graph)
    assert apply(ep) is False
    assert str(ep.graph) == before
