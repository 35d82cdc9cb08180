"""Runs chains of the edges by the thousand and counts: right, refused with a typed error, wrong."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import torch
from edge_chains import FAMILIES, draw_edge_chain
from edge_reference import difference, references
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import Chain
from run_chains import REFUSALS, arguments, export, size_of, traced

from executorch_ggml import to_edge_rewrite_and_lower
from executorch_ggml.analysis.reference import delegates
from executorch_ggml.errors import UnsupportedError

TOGETHER, LONGEST = 12, 4


@dataclass
class Tally:
    """unexported: torch itself does not export them. delegated: batches of which ggml runs something."""

    ran: int = 0
    batches: int = 0
    delegated: int = 0
    unexported: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def drawn(self) -> int:
        return self.ran + self.unexported + self.refused.total() + len(self.wrong)

    def __str__(self) -> str:
        reasons = "\n".join(f"{count:5} {reason}" for reason, count in self.refused.most_common())
        head = f"{self.drawn} chains: {self.ran} right, {len(self.wrong)} wrong, {self.refused.total()} refused, "
        head += f"{self.unexported} not exported by torch; {self.delegated} of {self.batches} programs delegated"
        return "\n\n".join([head, reasons, *self.wrong])


@contextlib.contextmanager
def loaded(chains: Sequence[Chain]) -> Iterator[tuple[Any, Path, int]]:
    """A running program of all chains, its file, and the number of delegates."""
    from executorch_ggml.runtime.program import Program

    edge = to_edge_rewrite_and_lower(export(chains))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chains.pte"
        path.write_bytes(edge.to_executorch().buffer)
        with Program(path, threads=1) as running:
            yield running, path, len(delegates(edge.exported_program()))


def compare(chains: Sequence[Chain], tally: Tally) -> dict[int, str]:
    """The wrong ones."""
    found: dict[int, str] = {}

    def hold(results: Sequence[Any], run: int, where: str) -> None:
        for i, (chain, got) in enumerate(zip(chains, results, strict=True)):
            wrong = difference(got, *references(chain, size_of(chain, run)))
            if wrong:
                found.setdefault(i, f"{where}, run {run}: {wrong}\n{chain}")

    with loaded(chains) as (running, path, count):
        tally.batches += 1
        tally.delegated += count > 0
        for run in range(max(len(c.sizes()) for c in chains)):
            given = arguments(chains, run)
            hold(running.execute("forward", given), run, "Program")
            if any(f.layout or f.other for c in chains for f in c.inputs):
                hold(running.execute("forward", arguments(chains, run, called=True)), run, "Program, other layouts")
                hold(_by_runtime(path, given), run, "Runtime")
                with contextlib.suppress(RuntimeError):  # ExecuTorch may refuse another order of dimensions
                    hold(_by_runtime(path, arguments(chains, run, called=True)), run, "Runtime, other layouts")
    return found


def _by_runtime(path: Path, given: list[torch.Tensor]) -> list[torch.Tensor]:
    from executorch.runtime import Runtime

    from executorch_ggml.runtime.register import register_backend

    register_backend()
    data = path.read_bytes()  # the runtime keeps no copy of it
    program = Runtime.get().load_program(data)
    return [t.clone() for t in program.load_method("forward").execute(given)]


def try_batch(chains: Sequence[Chain], tally: Tally, *, retried: bool = False) -> None:
    """Counts each chain; a batch that fails is cut in halves until the chain at fault is alone."""
    try:
        found = compare(chains, tally)
        for i, text in found.items():
            tally.wrong.append(_shortened(chains[i], text))
        tally.ran += len(chains) - len(found)
        return
    except Exception as e:
        failure = e
    if len(chains) > 1:
        half = len(chains) // 2
        for part in (chains[:half], chains[half:]):
            try_batch(part, tally)
    elif isinstance(failure, REFUSALS):
        tally.unexported += 1
    elif not retried and (later := traced(chains[0])) is not chains[0]:
        try_batch([later], tally, retried=True)
    elif isinstance(failure, UnsupportedError):
        tally.refused[f"{type(failure).__name__}: {str(failure)[:400]}"] += 1
    else:
        text = f"{type(failure).__name__}: {str(failure)[:1500]}\n{chains[0]}"
        tally.wrong.append(_shortened(chains[0], text))


def _shortened(chain: Chain, text: str) -> str:
    """The first lines of the chain that are wrong by themselves."""
    for count in range(1, len(chain.lines)):
        part = chain.prefix(count)
        try:
            if found := compare([part], Tally()):
                return found[0]
        except (UnsupportedError, *REFUSALS):
            continue
        except Exception as e:
            return f"{type(e).__name__}: {str(e)[:1500]}\n{part}"
    return text


def campaign(family: str, batches: int, seed: int) -> Tally:
    """So many batches of chains; a seed gives the same ones again."""
    tally = Tally()

    @st.composite
    def chains(draw: Any) -> list[Chain]:
        return [draw_edge_chain(draw, FAMILIES[family], LONGEST) for _ in range(TOGETHER)]

    @hypothesis.seed(seed)
    @settings(
        max_examples=batches,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(chains())
    def run(drawn: list[Chain]) -> None:
        try_batch(drawn, tally)

    run()
    return tally
