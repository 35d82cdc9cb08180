"""The tests of `bench`: those of a language model (pp512, tg128), and calls of any other program."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from executorch_ggml.errors import InvalidArgumentError

if TYPE_CHECKING:
    from executorch_ggml.llm.text.token_loop import TokenLoop
    from executorch_ggml.runtime.program import Program


@dataclass(frozen=True)
class Case:
    """One row: prompt tokens or decoded tokens, after `depth` tokens; or calls of a method."""

    n_prompt: int = 0
    n_gen: int = 0
    depth: int = 0
    method: str = ""

    @property
    def name(self) -> str:
        if self.method:
            return self.method
        parts = [f"pp{self.n_prompt}"] * bool(self.n_prompt) + [f"tg{self.n_gen}"] * bool(self.n_gen)
        return "+".join(parts) + (f" @ d{self.depth}" if self.depth else "")

    @property
    def unit(self) -> str:
        return "calls/s" if self.method else "t/s"

    @property
    def positions(self) -> int:
        return self.depth + self.n_prompt + self.n_gen + bool(self.n_gen)


@dataclass(frozen=True)
class Measured:
    """Samples are rates: tokens or calls in a second."""

    case: Case
    device: str
    threads: int
    cache_type: str
    samples: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.samples)

    @property
    def deviation(self) -> float:
        return statistics.stdev(self.samples) if len(self.samples) > 1 else 0.0


def cases_of(prompts: list[int], gens: list[int], depths: list[int]) -> list[Case]:
    """As llama-bench: every prompt length, then every number of decoded tokens, at every depth; 0 leaves a test out."""
    return [
        *(Case(n_prompt=count, depth=depth) for depth in depths for count in prompts if count),
        *(Case(n_gen=count, depth=depth) for depth in depths for count in gens if count),
    ]


def measure(program: Program, case: Case, repeat: int, warmup: int, full_logits: bool) -> Measured:
    """Times one test. Raises InvalidArgumentError where it does not fit the program."""
    once = _call(program, case.method) if case.method else _tokens(program, case, full_logits)
    samples = [once() for _ in range(warmup + repeat)][warmup:]
    info = program.info()
    return Measured(case, info["device"], info["threads"], info["cache_type"], tuple(samples))


def _tokens(program: Program, case: Case, full_logits: bool) -> Callable[[], float]:
    # Late: --help and other commands start without it.
    from executorch_ggml.llm.text.generate import cache_size
    from executorch_ggml.llm.text.token_loop import TokenLoop

    room = cache_size(program)
    if room is not None and case.positions > room:
        raise InvalidArgumentError(
            f"{case.name} takes {case.positions} positions, the graph has {room}: give less, or another --max-seq-len"
        )
    loop = TokenLoop(program)
    return lambda: _once(loop, case, full_logits)


def _once(loop: TokenLoop, case: Case, full_logits: bool) -> float:
    loop.rewind(0)
    # Decoding starts from logits, so at least one token comes before it.
    before = max(case.depth, 1) if case.n_gen and not case.n_prompt else case.depth
    if before:
        loop.feed(_ids(before))
    start = time.perf_counter()
    if case.n_prompt:
        loop.feed(_ids(case.n_prompt))
    if case.n_gen:
        loop.next()  # chosen from the logits that are there: no run of the model
        start = start if case.n_prompt else time.perf_counter()
        for _ in range(case.n_gen):
            loop.next()
            if full_logits:
                loop.logits()
    return (case.n_prompt + case.n_gen) / (time.perf_counter() - start)


def _ids(count: int) -> list[int]:
    return [1 + i % 100 for i in range(count)]  # speed does not depend on which they are


def _call(program: Program, name: str) -> Callable[[], float]:
    methods = {method["name"]: method for method in program.info()["methods"]}
    if name not in methods:
        raise InvalidArgumentError(f"{program.path}: there is no method {name!r}; it has {', '.join(methods)}")
    random = np.random.default_rng(0)
    inputs = [_input(item, random) for item in methods[name]["inputs"]]

    def once() -> float:
        # At least a tenth of a second: one call may be shorter than the clock's steps.
        calls, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < 0.1 or not calls:
            program.execute(name, inputs, copy=False)
            calls += 1
        return calls / seconds

    return once


def _input(item: dict[str, Any], random: np.random.Generator) -> Any:
    """A value at the largest sizes: normally distributed floats; zeros else, which fit every table."""
    if item["kind"] != "tensor":
        return {"int": 0, "float": 1.0, "bool": False}.get(item["kind"], 0)
    shape, dtype = item["shape"], item["dtype_name"]
    if dtype == "bfloat16":
        raise InvalidArgumentError(f"input {item['name']!r} is bfloat16, which numpy does not have")
    if dtype.startswith("float"):
        return random.standard_normal(math.prod(shape)).reshape(shape).astype(dtype)
    return np.zeros(shape, dtype)
