"""Chains exported together, lowered, run by the native library, and compared with eager torch."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from random_graphs import HIGH, Chain
from torch._dynamo.exc import UserError
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError, GuardOnDataDependentSymNode

from executorch_ggml import to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates
from executorch_ggml.aot.partitioner import GgmlPartitioner

RELATIVE = 2e-5
"""Of the largest element: F32 sums in another order."""

REFUSALS = (UserError, ConstraintViolationError, GuardOnDataDependentSymNode)
"""How torch.export says that it does not export a model with sizes that are free, such as one that must be constant."""


@dataclass
class Tally:
    """Chains that were lowered and run, and those that torch does not export, by its reason."""

    ran: int = 0
    unexported: Counter[str] = field(default_factory=Counter)

    @property
    def drawn(self) -> int:
        return self.ran + self.unexported.total()

    def __str__(self) -> str:
        reasons = "\n".join(f"{count:5} {reason}" for reason, count in self.unexported.most_common())
        return f"{self.drawn} chains: {self.ran} ran, torch did not export the others:\n{reasons}"


class Lines(torch.nn.Module):
    """A chain as a model."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self.code = compile("\n".join(chain.lines), "<chain>", "exec")
        self.chain = chain
        for fresh in chain.fresh:
            if not fresh.is_input:
                self.register_buffer(fresh.name, fresh.tensor(0))

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        scope: dict[str, Any] = {"torch": torch, "F": F, **dict(self.named_buffers())}
        scope.update(zip([f.name for f in self.chain.inputs], args, strict=True))
        exec(self.code, scope)
        result: torch.Tensor = scope[self.chain.result]
        return result


class Together(torch.nn.Module):
    """Several chains as one model: exporting costs far more than the nodes do."""

    def __init__(self, chains: Sequence[Chain]) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleList(Lines(c) for c in chains)

    def forward(self, *args: torch.Tensor) -> list[torch.Tensor]:
        results, at = [], 0
        for part in self.parts:
            count = len(part.chain.inputs)
            results.append(part(*args[at : at + count]))
            at += count
        return results


def size_of(chain: Chain, run: int) -> int:
    return chain.sizes()[min(run, len(chain.sizes()) - 1)]


def arguments(chains: Sequence[Chain], run: int, *, called: bool = False) -> list[torch.Tensor]:
    return [f.tensor(size_of(c, run), called=called) for c in chains for f in c.inputs]


def export(chains: Sequence[Chain]) -> Any:
    """An exported program. Raises one of ``REFUSALS`` where torch itself does not export it."""
    shapes = []
    for i, chain in enumerate(chains):
        dim = torch.export.Dim(f"n{i}", min=chain.low, max=HIGH)
        shapes.extend({d: dim for d, size in enumerate(f.dims) if size == "n"} for f in chain.inputs)
    dynamic = (tuple(shapes),) if any(shapes) else None
    try:
        return torch.export.export(Together(chains).eval(), tuple(arguments(chains, 0)), dynamic_shapes=dynamic)
    except (*REFUSALS, AssertionError) as e:
        if not any(c.dynamic for c in chains):
            raise AssertionError("torch exports every chain of static sizes") from e
        if isinstance(e, AssertionError):  # of its own solver of constraints
            raise ConstraintViolationError(str(e)) from e
        raise


def exportable(chains: Sequence[Chain], tally: Tally) -> Iterator[tuple[list[Chain], Any]]:
    """Chains that export together, with their program. A refused group is halved until the chain at fault is alone."""
    try:
        program = export(chains)
    except REFUSALS as e:
        if len(chains) == 1:
            tally.unexported[f"{type(e).__name__}: {str(e).splitlines()[0][:160]}"] += 1
            return
        half = len(chains) // 2
        for part in (chains[:half], chains[half:]):
            yield from exportable(part, tally)
        return
    tally.ran += len(chains)
    yield list(chains), program


def problems(chains: Sequence[Chain], program: Any = None) -> list[str]:
    """What is wrong with the lowered model."""
    program = export(chains) if program is None else program
    partitioner = GgmlPartitioner()
    edge = to_edge_rewrite_and_lower(program, partitioner=partitioner)
    from executorch_ggml.runtime.program import Program

    found = []
    # A chain whose every line is movement or integers need not be delegated for its own sake.
    if len(chains) > 1 and not delegates(edge.exported_program()):
        reasons = partitioner.decisions.reasons.items() if partitioner.decisions else ()
        found.append(f"nothing delegated: { {str(n): r for n, r in reasons} }")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chains.pte"
        path.write_bytes(edge.to_executorch().buffer)
        with Program(path, threads=1) as running:
            for run in range(max(len(c.sizes()) for c in chains)):
                results = running.execute("forward", arguments(chains, run))
                for chain, got in zip(chains, results, strict=True):
                    wrong = difference(got, *references(chain, size_of(chain, run)))
                    if wrong:
                        found.append(f"{wrong}, run {run}:\n{chain}")
    return found


def references(chain: Chain, n: int) -> list[torch.Tensor]:
    """What eager makes of it, what it makes in F64, and that with noise of an F32's rounding behind every line that
    rounds: what cancels may differ by that, and one result in F32, which may round to just the right number, does not
    tell."""
    given = {f.name: f.tensor(n) for f in chain.fresh}
    doubles = {name: t.double() if t.dtype is torch.float32 else t for name, t in given.items()}
    scopes: list[dict[str, Any]] = [{"torch": torch, "F": F, **tensors} for tensors in (given, doubles, doubles)]
    generator = torch.Generator().manual_seed(0)
    for line in chain.lines:
        name = line.split(" = ")[0]
        for scope in scopes:
            exec(line, scope)
        single, exact, noisy = (scope[name] for scope in scopes)
        if isinstance(single, torch.Tensor) and single.is_floating_point() and not torch.equal(single.double(), exact):
            noise = torch.randn(noisy.shape, generator=generator, dtype=torch.float64)
            scopes[2][name] = noisy * (1 + 2.0**-23 * noise)
    return [scope[chain.result] for scope in scopes]


def difference(got: torch.Tensor, want: torch.Tensor, precise: torch.Tensor, noisy: torch.Tensor) -> str:
    """Empty, or how ``got`` differs: integers and booleans at all, floats beyond the rounding that eager itself has."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} {tuple(got.shape)} instead of {want.dtype} {tuple(want.shape)}"
    if not want.dtype.is_floating_point:
        return "" if torch.equal(got, want) else f"{got} instead of {want}"
    rounding = max(float((side.double() - precise.double()).abs().max()) for side in (want, noisy))
    bound = RELATIVE * max(float(want.abs().max()), 1e-3) + 20 * rounding
    error = float((got.double() - want.double()).abs().max())
    return "" if error <= bound else f"off by {error:.3g}, allowed {bound:.3g}: {got} instead of {want}"


class ShapesAsTraced(torch.fx.Interpreter):
    """Runs a program at other sizes than its example's; AssertionError where one of a result is not the traced one."""

    def __init__(self, program: Any, args: Sequence[torch.Tensor]) -> None:
        super().__init__(program.graph_module)
        given, held = iter(args), {**program.state_dict, **program.constants}
        specs = program.graph_signature.input_specs
        self.inputs = [next(given) if s.target is None else held[s.target] for s in specs]
        self.sizes: dict[Any, int] = {}
        for node, tensor in zip(program.graph.find_nodes(op="placeholder"), self.inputs, strict=True):
            for traced, size in zip(node.meta["val"].shape, tensor.shape, strict=True):
                if isinstance(traced, torch.SymInt):
                    self.sizes[traced.node.expr] = size

    def run_node(self, n: torch.fx.Node) -> Any:
        result, traced = super().run_node(n), n.meta.get("val")
        if isinstance(result, torch.Tensor):
            sizes = [d.node.expr.subs(self.sizes) if isinstance(d, torch.SymInt) else d for d in traced.shape]
            assert sizes == list(result.shape), n.format_node()
        return result


def traced(chain: Chain) -> Chain:
    """The chain, from 2 on where what torch traced does not hold at 1: it traces sizes as "at least 2", and then
    ``x[-6:]`` has 6 elements of the 3 n that ``x`` has. We refuse a 1 there, as we have to."""
    if not chain.dynamic or chain.low >= 2:
        return chain
    program = export([chain])
    try:
        run = ShapesAsTraced(program, arguments([chain], chain.sizes().index(chain.low)))
        run.run(*run.inputs, enable_io_processing=False)
        return chain
    except (AssertionError, RuntimeError):  # another size than traced, or one that an operator then refuses
        return dataclasses.replace(chain, low=2)


def explain(chains: Sequence[Chain], tally: Tally) -> str:
    """The failing chains, each cut after its first wrong line; empty if all are right."""
    texts = [_explain(group, program) for group, program in exportable(chains, tally)]
    return "\n\n".join(filter(None, texts))


def _explain(chains: list[Chain], program: Any) -> str:
    def all_problems(program: Any) -> list[str]:
        try:
            return problems(chains, program)
        except Exception as e:
            return [repr(e)]

    texts: list[str] = []
    wrong = all_problems(program)
    if wrong:
        before, chains = chains, [traced(c) for c in chains]
        wrong = wrong if chains == before else all_problems(None)
    if wrong == []:
        return ""
    for chain in chains:
        for count in range(1, len(chain.lines) + 1):
            text = _alone(chain.prefix(count))
            if text:
                texts.append(text)
                break
    if not texts and wrong:
        texts = ["only together:", *wrong, *map(str, chains)]
    return "\n\n".join(texts)


def _alone(chain: Chain) -> str:
    try:
        found = problems([chain])
    except REFUSALS:  # the lines before the wrong one need not export by themselves
        return ""
    except Exception as e:
        return f"{type(e).__name__}: {str(e)[:2000]}\n{chain}"
    return "\n".join(found)
