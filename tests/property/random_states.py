"""Random modules with mutable buffers: drawn as source lines, so that a failure can be read and run by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from hypothesis import strategies as st

FLOATS = (torch.float32, torch.float32, torch.float32, torch.float16, torch.bfloat16, torch.float64)
INTEGERS = (torch.int64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
SHAPES = ((4,), (2, 3), (3, 4), (1, 4, 3), (2, 1, 4, 2), (1,), ())

# {b} buffer, {x} an argument like it, {p} two positions, {o} another buffer of its kind, {c} a number
ANY = (
    "{b}.copy_({x})",
    "{b}.copy_({o})",
    "{b}.copy_({x}); {o}.copy_({b})",
    "t = {b}.clone(); {b}.copy_({o}); {o}.copy_(t)",
    "{b}.zero_()",
)
RANKED = (
    "{b}[{i}] = {x}[{i}]",
    "{b}[{i}:] = {x}[{i}:]",
    "{b}[::2] = {x}[::2]",
    "{b}.copy_(torch.cat([{b}, {x}])[-{b}.shape[0]:])",
    "{b}.copy_(torch.roll({b}, 1, 0))",
    "{b}.select(-1, {k}).copy_({x}.select(-1, {k}))",
    "{b}.narrow(-1, 0, 1).copy_({x}.narrow(-1, 0, 1))",
    "{b}.view(-1)[{k}] = 1",
    "{b}.copy_({b}.flip(0))",
)
LONGER = ("{b}.copy_(torch.cat([{b}[1:], {x}[:1]]))",)
POSITIONS = (
    "{b}.index_copy_({d}, {p}, {x}.narrow({d}, 0, 2))",
    "{b}[{at}] = {x}.narrow({d}, 0, 2)",
    "{b}.index_fill_({d}, {p}, 1)",
)
NUMBERS = ("{b}.add_({x})", "{b}.add_(1)", "{b}.copy_(torch.where({x} > {b}, {x}, {b}))")
NUMBERS_RANKED = ("{b}[{i}].add_({x}[{i}])", "{b}.select(-1, {k}).add_(1)", "{b}.view(-1)[:1].add_(2)")
DECIMALS = (
    "{b}.mul_(0.5)",
    "{b}.sub_({x})",
    "{b}.mul_(0.9).add_({x}, alpha=0.1)",
    "{b}.copy_(torch.tanh({b} + {x}))",
    "{b}.copy_(({b} * 0.5).double().to({b}.dtype))",
    "{b}.copy_(({x} * 4).to(torch.int64).to({b}.dtype) + {b} * 0.5)",
    "{b}.lerp_({x}, 0.25)",
    "{b}.clamp_(min=0)",
)
TRUTHS = (
    "{b}.logical_or_({x})",
    "{b}.logical_and_({x})",
    "{b}.logical_not_()",
    "{b}.copy_({b} ^ {x})",
)
RESULTS = ("{b}", "{b}.clone()", "{b}.view(-1)", "{b} == {x}", "old{n}", "old{n}.view(-1)")
RESULTS_RANKED = ("{b}[0]", "{b}[-1:]", "{b}.transpose(0, -1)")
RESULTS_NUMBERS = ("{b} + {x}", "{b}.float() * 0.5", "{b} + old{n}", "{b}.sum()")


@dataclass
class Buffer:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: str

    def like(self, seed: int) -> torch.Tensor:
        """An argument of the buffer's kind."""
        generator = torch.Generator().manual_seed(seed)
        if self.dtype.is_floating_point:
            return torch.randn(self.shape, generator=generator).to(self.dtype)
        high = 2 if self.dtype is torch.bool else 5
        return torch.randint(0, high, self.shape, generator=generator).to(self.dtype)

    def initial(self) -> torch.Tensor:
        if self.start == "zeros":
            return torch.zeros(self.shape, dtype=self.dtype)
        return self.like(77) if self.start == "random" else torch.ones(self.shape, dtype=self.dtype)

    def kinds(self) -> list[str]:
        lines, ranked, numbers = list(ANY), len(self.shape) > 0, self.dtype is not torch.bool
        if ranked:
            lines += RANKED + (LONGER if self.shape[0] > 1 else ())
            if max(self.shape) >= 3:
                lines += POSITIONS * 2
        if numbers:
            lines += NUMBERS + (NUMBERS_RANKED if ranked else ())
        if self.dtype.is_floating_point:
            lines += DECIMALS
        return lines if numbers else lines + list(TRUTHS) * 3

    def results(self) -> list[str]:
        lines = list(RESULTS) + (list(RESULTS_RANKED) if self.shape else [])
        return lines + (list(RESULTS_NUMBERS) if self.dtype is not torch.bool else [])


@dataclass
class Machine:
    """Buffers, and for each method its statements and results. Every method gets all arguments."""

    buffers: list[Buffer]
    methods: list[tuple[list[str], list[str]]] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{b.name}: {b.dtype} {b.shape} {b.start}" for b in self.buffers]
        for i, (body, results) in enumerate(self.methods):
            lines.append(f"method {i}: {' ; '.join(body)} -> {', '.join(results)}")
        return "\n".join(lines)


def _fill(draw: Any, text: str, machine: Machine, n: int) -> str:
    buffer = machine.buffers[n]
    rank, longest = len(buffer.shape), max(buffer.shape, default=0)
    others = [b.name for b in machine.buffers if b.dtype == buffer.dtype and b.shape == buffer.shape]
    d = buffer.shape.index(longest) if rank else 0
    return text.format(
        b=buffer.name,
        x=f"x{n}",
        p="p",
        o=draw(st.sampled_from(others)),
        n=n,
        d=d,
        at=", ".join([":"] * d + ["p"]),
        i=draw(st.integers(0, buffer.shape[0] - 1)) if rank else 0,
        k=draw(st.integers(0, buffer.shape[-1] - 1)) if rank else 0,
    )


def draw_machine(draw: Any) -> Machine:
    buffers: list[Buffer] = []
    for n in range(draw(st.integers(1, 3))):
        if buffers and draw(st.integers(0, 2)) == 0:  # of the kind of the one before, to be exchanged with
            dtype, shape = buffers[-1].dtype, buffers[-1].shape
        else:
            dtype = draw(st.sampled_from((*FLOATS, *FLOATS, *INTEGERS, torch.bool, torch.bool)))
            shape = draw(st.sampled_from(SHAPES))
        buffers.append(Buffer(f"b{n}", dtype, shape, draw(st.sampled_from(("zeros", "random", "ones")))))
    machine = Machine(buffers)
    for _ in range(draw(st.integers(1, 3))):
        body, results = [], []
        for _ in range(draw(st.integers(0, 3))):
            n = draw(st.integers(0, len(buffers) - 1))
            body.append(_fill(draw, draw(st.sampled_from(buffers[n].kinds())), machine, n))
        for _ in range(draw(st.integers(1, 3))):
            n = draw(st.integers(0, len(buffers) - 1))
            results.append(_fill(draw, draw(st.sampled_from(buffers[n].results())), machine, n))
        machine.methods.append((body, results))
    return machine
