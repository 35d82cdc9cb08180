"""Indices out of range, one tensor at a time: where eager raises, so must a run, with an error of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import hypothesis
import torch
from edge_chains import FAMILIES, draw_edge_chain
from edge_reference import difference, references
from edge_run import LONGEST, loaded
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import Chain, Fresh
from run_chains import REFUSALS, Lines, arguments

from executorch_ggml.errors import GgmlError, UnsupportedError

TOGETHER = 8
KINDS = ("index", "signed", "distinct")


def is_index(f: Fresh) -> bool:
    return f.is_input and f.values.startswith(KINDS)


def bad_values(f: Fresh) -> list[int]:
    """Just outside, and far."""
    limits = torch.iinfo(f.dtype)
    far = [limits.max, limits.min, 2**31, 2**32, -(2**40)]
    return [-1, f.high, -f.high - 1, *(v for v in far if limits.min <= v <= limits.max)]


def spoiled(chains: Sequence[Chain]) -> Iterator[tuple[int, list[torch.Tensor], str]]:
    """Arguments in which one index of one chain is bad: the chain's number, all arguments, and what was done."""
    inputs = [(number, f) for number, c in enumerate(chains) for f in c.inputs]
    for at, (number, f) in enumerate(inputs):
        for value in bad_values(f) if is_index(f) else ():
            given = arguments(chains, 0)
            flat = given[at].clone().view(-1)
            flat[f.seed % flat.numel()] = value
            given[at] = flat.view(given[at].shape)
            yield number, given, f"{f.name} has {value}"


class OutOfRange:
    """raised: calls that eager and we refuse. accepted: those that both compute, such as -1 for the last row."""

    def __init__(self) -> None:
        self.raised = self.accepted = self.refused = 0
        self.wrong: list[str] = []

    def __str__(self) -> str:
        head = f"{self.raised} calls refused as eager does, {self.accepted} right, {self.refused} chains not lowered"
        return "\n\n".join([head, *self.wrong])

    def add(self, chains: Sequence[Chain]) -> None:
        chains = [c for c in chains if any(is_index(f) for f in c.inputs)]
        if not chains:
            return
        try:
            with loaded(chains) as (program, _, _):
                for number, given, what in spoiled(chains):
                    self._call(program, chains, number, given, what)
                self._still_right(program, chains)
        except (UnsupportedError, *REFUSALS):
            if len(chains) == 1:
                self.refused += 1
            else:
                self.add(chains[: len(chains) // 2])
                self.add(chains[len(chains) // 2 :])

    def _call(self, program: Any, chains: Sequence[Chain], number: int, given: list[torch.Tensor], what: str) -> None:
        chain, first = chains[number], sum(len(c.inputs) for c in chains[:number])
        want: torch.Tensor | None = None
        with contextlib.suppress(IndexError, RuntimeError):
            want = Lines(chain.live())(*given[first : first + len(chain.inputs)])
        try:
            got = program.execute("forward", given)[number]
        except GgmlError as e:
            if want is not None:
                self.wrong.append(f"{what}: eager takes it; {type(e).__name__}: {e}\n{chain}")
            self.raised += want is None
            return
        except Exception as e:
            self.wrong.append(f"{what}: {type(e).__name__}: {e}\n{chain}")
            return
        if want is None:
            self.wrong.append(f"{what}: eager raises, here {got}\n{chain}")
        elif wrong := difference(got, want, [want.double()]):
            self.wrong.append(f"{what}: {wrong}\n{chain}")
        else:
            self.accepted += 1

    def _still_right(self, program: Any, chains: Sequence[Chain]) -> None:
        """A refused call leaves nothing behind."""
        for chain, got in zip(chains, program.execute("forward", arguments(chains, 0)), strict=True):
            if wrong := difference(got, *references(chain, chain.sizes()[0])):
                self.wrong.append(f"after calls that were refused: {wrong}\n{chain}")


def campaign_out_of_range(batches: int, seed: int) -> OutOfRange:
    tally = OutOfRange()
    family = replace(FAMILIES["indices"], others=("words_indices",))

    @st.composite
    def chains(draw: Any) -> list[Chain]:
        return [draw_edge_chain(draw, family, LONGEST) for _ in range(TOGETHER)]

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
        tally.add(drawn)

    run()
    return tally
