"""Random modules with mutable buffers, exported together, run call after call, and compared with eager torch."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from random_states import Machine

from executorch_ggml import to_edge_rewrite_and_lower

METHODS = 3
TOLERANCE = {torch.float16: 4e-3, torch.bfloat16: 3e-2}
RELATIVE = 2e-5


class Part(torch.nn.Module):
    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        for buffer in machine.buffers:
            self.register_buffer(buffer.name, buffer.initial())

    def call(self, method: int, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if method >= len(self.machine.methods):
            return []
        body, results = self.machine.methods[method]
        scope: dict[str, Any] = {"torch": torch, "p": arguments[-1], **dict(self.named_buffers())}
        for n, buffer in enumerate(self.machine.buffers):
            scope[f"x{n}"] = arguments[n]
            scope[f"old{n}"] = getattr(self, buffer.name).clone()
        for line in body:
            exec(line, scope)
        return [eval(result, scope) for result in results]


class Together(torch.nn.Module):
    """Several machines as one model: exporting costs far more than the nodes do."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(Part(m) for m in machines)

    def call(self, method: int, arguments: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        results, at = [], 0
        for part in self.parts:
            count = len(part.machine.buffers)
            results += part.call(method, [*arguments[at : at + count], arguments[-1]])
            at += count
        return results

    def relative(self, method: int) -> list[float]:
        """What each result of a method may be off by, of its largest element.

        Within a call halves are computed in F32 and rounded when they are stored, so a result that is F32 in the end
        may have digits that eager's has lost.
        """
        found: list[float] = []
        for part in self.parts:
            methods = part.machine.methods
            most = max([RELATIVE, *(TOLERANCE.get(b.dtype, 0.0) for b in part.machine.buffers)])
            found += [most] * (len(methods[method][1]) if method < len(methods) else 0)
        return found


class Method(torch.nn.Module):
    def __init__(self, model: Together, method: int) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, *arguments: torch.Tensor) -> list[torch.Tensor]:
        return self.model.call(self.method, arguments)


def arguments(machines: Sequence[Machine], call: int) -> list[torch.Tensor]:
    given = [b.like(100 * call + n) for m in machines for n, b in enumerate(m.buffers)]
    positions = torch.randperm(3, generator=torch.Generator().manual_seed(call))[:2]
    return [*given, positions]


def problems(machines: Sequence[Machine], calls: Sequence[int]) -> list[str]:
    """What is wrong after which call. ``calls``: methods in order; -1 resets the program."""
    model = Together(machines)
    count = max(len(m.methods) for m in machines)
    calls = [c if c < count else c % count for c in calls]
    example = tuple(arguments(machines, 0))
    programs = {f"m{i}": torch.export.export(Method(model, i), example) for i in range(count)}
    buffer = to_edge_rewrite_and_lower(programs).to_executorch().buffer
    found: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "states.pte"
        path.write_bytes(buffer)
        found += _by_program(path, model, calls)
    return found or _by_runtime(bytes(buffer), model, calls)


def _by_program(path: Path, model: Together, calls: Sequence[int]) -> list[str]:
    from executorch_ggml.runtime.program import Program

    eager, machines = copy.deepcopy(model), [p.machine for p in model.parts]
    with Program(path, threads=1) as program:
        for at, method in enumerate(calls):
            if method < 0:
                program.reset()
                eager = copy.deepcopy(model)
                continue
            given = arguments(machines, at)
            got = program.execute(f"m{method}", given)
            wrong = _differences(got, eager, method, given)
            if wrong:
                return [f"Program, call {at} of {calls}: {wrong}"]
    return []


def _by_runtime(data: bytes, model: Together, calls: Sequence[int]) -> list[str]:
    from executorch.runtime import Runtime

    from executorch_ggml.runtime.register import register_backend

    register_backend()
    machines = [p.machine for p in model.parts]
    for start in [-1, *(i for i, c in enumerate(calls) if c < 0)]:
        eager = copy.deepcopy(model)
        program = Runtime.get().load_program(data)
        methods = {name: program.load_method(name) for name in sorted(program.method_names)}
        for at in range(start + 1, len(calls)):
            if calls[at] < 0:
                break
            given = arguments(machines, at)
            got = methods[f"m{calls[at]}"].execute(given)
            wrong = _differences(got, eager, calls[at], given)
            if wrong:
                return [f"Runtime, call {at} of {calls}: {wrong}"]
    return []


def _differences(got: Sequence[Any], eager: Together, method: int, given: list[torch.Tensor]) -> str:
    with torch.no_grad():
        want = [w.clone() for w in eager.call(method, copy.deepcopy(given))]
    if len(got) != len(want):
        return f"{len(got)} results instead of {len(want)}"
    relative = eager.relative(method)
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        wrong = difference(g, w, relative[i])
        if wrong:
            return f"result {i} of method {method}: {wrong}"
    return ""


def difference(got: torch.Tensor, want: torch.Tensor, relative: float) -> str:
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {tuple(got.shape)} instead of {want.dtype} {tuple(want.shape)}"
    if not want.dtype.is_floating_point:
        return "" if torch.equal(got, want) else f"{got} instead of {want}"
    bound = max(TOLERANCE.get(want.dtype, 0.0), relative) * max(float(want.abs().max()) if want.numel() else 0.0, 1.0)
    error = float((got.double() - want.double()).abs().max()) if want.numel() else 0.0
    return "" if error <= bound else f"off by {error:.3g}, allowed {bound:.3g}: {got} instead of {want}"


def explain(machines: Sequence[Machine], calls: Sequence[int]) -> str:
    """The failing modules; empty if all are right."""

    def tried(some: Sequence[Machine]) -> list[str]:
        try:
            return problems(some, calls)
        except Exception as e:
            return [f"{type(e).__name__}: {str(e)[:1500]}"]

    together = tried(machines)
    if not together:
        return ""
    texts = [f"{wrong}\n{m}" for m in machines for wrong in tried([m])]
    return "\n\n".join(texts or [f"only together: {together[0]}", *map(str, machines)])
