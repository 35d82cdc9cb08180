"""Every registered case: exported, lowered, run on the numpy interpreter, compared with eager torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from executorch_ggml.registry import Arg, Case, entries

pytestmark = pytest.mark.filterwarnings("ignore")


class Wrapped(torch.nn.Module):
    def __init__(self, fn: Any) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, *args: torch.Tensor) -> Any:
        return self.fn(*args)


def make(arg: Any, seed: int, sizes: Mapping[int, int]) -> torch.Tensor:
    spec = arg if isinstance(arg, Arg) else Arg(tuple(arg))
    shape = [sizes.get(d, n) for d, n in enumerate(spec.shape)]
    generator = torch.Generator().manual_seed(seed)
    if spec.dtype is torch.bool:
        return torch.rand(shape, generator=generator) > 0.4
    if not spec.dtype.is_floating_point:
        return torch.randint(int(spec.low), int(spec.high) + 1, shape, generator=generator, dtype=spec.dtype)
    return (torch.rand(shape, generator=generator) * (spec.high - spec.low) + spec.low).to(spec.dtype)


def dynamic_of(case: Case, index: int) -> Mapping[int, tuple[str, int, int]]:
    return case.dynamic[index] if index < len(case.dynamic) else {}


def lower(case: Case) -> Any:
    from executorch.exir import to_edge_transform_and_lower
    from torch.export import Dim, export

    from executorch_ggml.partitioner import GgmlPartitioner

    args = tuple(make(a, i, {}) for i, a in enumerate(case.args))
    dims: dict[str, Any] = {}
    shapes = []
    for i in range(len(args)):
        spec = {}
        for d, (name, low, high) in dynamic_of(case, i).items():
            spec[d] = dims.setdefault(name, Dim(name, min=low, max=high))
        shapes.append(spec or None)
    module = case.fn if isinstance(case.fn, torch.nn.Module) else Wrapped(case.fn)
    dynamic = None
    if dims:
        dynamic = tuple(shapes) if isinstance(case.fn, torch.nn.Module) else (tuple(shapes),)
    program = export(module.eval(), args, dynamic_shapes=dynamic, strict=False)
    partitioner = GgmlPartitioner(rewrites=False)
    edge = to_edge_transform_and_lower(program, partitioner=[partitioner])
    return module, edge, partitioner


def bindings(case: Case) -> Iterator[list[Mapping[int, int]]]:
    """Sizes of the dynamic dimensions: lowest, odd, middle, highest."""
    bounds: dict[str, tuple[int, int]] = {}
    for i in range(len(case.args)):
        for name, low, high in dynamic_of(case, i).values():
            bounds[name] = (low, high)
    picks = ["static"] if not bounds else ["low", "odd", "middle", "high"]
    for pick in picks:
        sizes = {}
        for name, (low, high) in bounds.items():
            odd = min(high, (low + 2) | 1)
            sizes[name] = {"low": low, "odd": odd, "middle": (low + high) // 2, "high": high}.get(pick, low)
        yield [{d: sizes[n] for d, (n, _, _) in dynamic_of(case, i).items()} for i in range(len(case.args))]


def all_cases() -> list[Any]:
    found = []
    seen = set()
    for entry in entries():
        if entry.cases is None or entry.cases in seen:
            continue
        seen.add(entry.cases)
        name = str(entry.target).removeprefix("aten.")
        for i, case in enumerate(entry.cases()):
            found.append(pytest.param(entry, case, id=f"{name}[{case.name or i}]"))
    return found


@pytest.mark.parametrize("entry, case", all_cases())
def test_case(entry: Any, case: Case) -> None:
    from executorch_ggml.reference import ReferenceExecutor, delegates, flatten_results, normalised_error

    module, edge, partitioner = lower(case)
    program = edge.exported_program()
    reasons = {str(n): r for n, r in partitioner.decisions.reasons.items() if r}
    if case.refused:
        assert any(case.refused in r for r in reasons.values()), reasons
        return
    assert not reasons, reasons
    assert delegates(program), "nothing was delegated"
    for sizes in bindings(case):
        args = [make(a, 11 + i, sizes[i]) for i, a in enumerate(case.args)]
        with torch.no_grad():
            want = flatten_results(module(*args))
        got = ReferenceExecutor(program)(*args)
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape
            assert g.dtype == w.dtype
            error = normalised_error(g, w)
            assert error <= case.tolerance, f"NMSE {error:.3g} at {[list(a.shape) for a in args]}"
