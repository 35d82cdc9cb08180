"""Every registered case: exported, lowered, run and compared with eager torch.

It runs on the numpy interpreter, on ggml, and on ggml in the forms that a CUDA device gets (graph/adapt.h).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from executorch_ggml import UnloadableError, UnsupportedError
from executorch_ggml.analysis.nmse import nmse
from executorch_ggml.analysis.reference import ReferenceExecutor, delegates, flatten_results
from executorch_ggml.aot.registry import Arg, Case, entries

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


class Together(torch.nn.Module):
    """Several cases as one model: exporting costs far more than the nodes do."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(c.fn if isinstance(c.fn, torch.nn.Module) else Wrapped(c.fn) for c in cases)
        self.counts = [len(c.args) for c in cases]

    def forward(self, *args: torch.Tensor) -> Any:
        results, at = [], 0
        for part, count in zip(self.parts, self.counts, strict=True):
            results.append(part(*args[at : at + count]))
            at += count
        return results


def lower(cases: list[Case]) -> Any:
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from torch.export import Dim, export

    from executorch_ggml.aot.partitioner import GgmlPartitioner

    dims: dict[str, Any] = {}
    args: list[torch.Tensor] = []
    shapes: list[Any] = []
    for case in cases:
        for i, arg in enumerate(case.args):
            args.append(make(arg, len(args), {}))
            spec = {}
            for d, (name, low, high) in dynamic_of(case, i).items():
                spec[d] = dims.setdefault(name, Dim(name, min=low, max=high))
            shapes.append(spec or None)
    module = Together(cases).eval()
    program = export(module, tuple(args), dynamic_shapes=(tuple(shapes),) if dims else None, strict=False)
    partitioner = GgmlPartitioner(rewrites=False)
    # Some operators have no decomposition and are not in the core set: by default the exporter refuses them.
    allowed = [e.target for e in entries() if isinstance(e.target, torch._ops.OpOverload)]
    config = EdgeCompileConfig(_core_aten_ops_exception_list=allowed)
    try:
        edge = to_edge_transform_and_lower(program, partitioner=[partitioner], compile_config=config)
    except UnloadableError:  # some that must not be delegated have no kernel in ExecuTorch either
        if not cases[0].refused:
            raise
        edge = None
    return module, edge, partitioner


def bindings(case: Case) -> Iterator[list[Mapping[int, int]]]:
    """Sizes of the dynamic dimensions: lowest, odd, middle, highest."""
    bounds: dict[str, tuple[int, int]] = {}
    for i in range(len(case.args)):
        for name, low, high in dynamic_of(case, i).values():
            bounds[name] = (low, high)
    for pick in ["low", "odd", "middle", "high"] if bounds else ["static"]:
        sizes = {}
        for name, (low, high) in bounds.items():
            odd = min(high, (low + 2) | 1)
            sizes[name] = {"low": low, "odd": odd, "middle": (low + high) // 2, "high": high}.get(pick, low)
        yield [{d: sizes[n] for d, (n, _, _) in dynamic_of(case, i).items()} for i in range(len(case.args))]


def is_float(node: Any) -> bool:
    val = node.meta.get("val")
    val = val[0] if isinstance(val, (tuple, list)) else val
    return isinstance(val, torch.Tensor) and val.dtype.is_floating_point


def is_static(case: Case) -> bool:
    return not case.refused and not any(case.dynamic)


def groups() -> list[Any]:
    """Static cases of one operator together; dynamic and refused ones each alone."""
    found = []
    seen = set()
    for entry in entries():
        if entry.cases is None or entry.cases in seen:
            continue
        seen.add(entry.cases)
        name = str(entry.target).removeprefix("aten.")
        cases = [replace(c, cpu_only=entry.facts.cpu_only) for c in entry.cases()]
        static = [c for c in cases if is_static(c)]
        if static:
            found.append(pytest.param(static, id=name))
        for i, case in enumerate(cases):
            if not is_static(case):
                found.append(pytest.param([case], id=f"{name}[{case.name or i}]"))
    return found


class Lowered:
    """A group exported and lowered once, for all ways of running it."""

    initial: dict[str, torch.Tensor] | None = None

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        self.module, edge, self.partitioner = lower(cases)
        self.program = edge.exported_program()
        self.buffer = edge.to_executorch().buffer

    def compare(self, run: Any, floor: float) -> None:
        """Every result of ``run(arguments)`` against eager torch, at each binding of the dynamic sizes."""
        problems = []
        # Only a lone case has dynamic sizes.
        for sizes in bindings(self.cases[0]) if len(self.cases) == 1 else [[{}] * 8]:
            args = [make(a, 11 + i, sizes[i]) for c in self.cases for i, a in enumerate(c.args)]
            with torch.no_grad():
                want = self.module(*args)
            got = list(run(args))
            assert len(got) == len(flatten_results(want))
            for case, part in zip(self.cases, want, strict=True):
                for w in flatten_results(part):
                    g = got.pop(0)
                    where = f"{case.name} {[getattr(a, 'shape', a) for a in case.args]} {sizes}"
                    if g.shape != w.shape or g.dtype != w.dtype:
                        problems.append(f"{where}: {g.dtype} {tuple(g.shape)}, expected {w.dtype} {tuple(w.shape)}")
                        continue
                    error = nmse(g, w)
                    if not error <= max(case.tolerance, floor):
                        problems.append(f"{where}: NMSE {error:.3g}")
        assert not problems, "\n".join(problems)


_cache: dict[int, Lowered] = {}


def lowered(cases: list[Case]) -> Lowered:
    key = id(cases)
    if key not in _cache:
        _cache.clear()  # the tests of a group run one after the other
        _cache[key] = Lowered(cases)
    # Modules with buffers change as they run: each way starts from the beginning.
    return _cache[key]


def restored(group: Lowered) -> Lowered:
    if group.initial is None:
        group.initial = {k: v.clone() for k, v in group.module.state_dict().items()}
    group.module.load_state_dict(group.initial)
    return group


@pytest.mark.parametrize("how", ["reference", "native", "cuda forms"])
@pytest.mark.parametrize("cases", groups())
def test_case(cases: list[Case], how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = cases[0].refused
    if refused:
        if how == "reference":
            decided = lower(cases)[2].decisions.reasons
            assert any(refused in r for r in decided.values()), {str(n): r for n, r in decided.items() if r}
        return
    group = restored(lowered(cases))
    # Sizes and integer arithmetic belong to ExecuTorch.
    decided = group.partitioner.decisions.reasons
    assert not {str(n): r for n, r in decided.items() if r and is_float(n)}
    assert len(delegates(group.program)) == 1
    if how == "reference":
        group.compare(lambda args: ReferenceExecutor(group.program)(*args), 0.0)
        return
    from executorch_ggml.runtime.program import Program

    if how == "cuda forms":
        monkeypatch.setenv("EXECUTORCH_GGML_FORMS", "cuda")
    path = tmp_path / "case.pte"
    path.write_bytes(group.buffer)
    if how == "cuda forms" and cases[0].cpu_only:
        with pytest.raises(UnsupportedError, match=r"kernels? of the CPU"), Program(path, threads=1) as program:
            group.compare(lambda args: program.execute("forward", args), 1e-7)
        return
    with Program(path, threads=1, cache_type="f32") as program:
        group.compare(lambda args: program.execute("forward", args), 1e-7)
