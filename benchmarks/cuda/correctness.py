#!/usr/bin/env python3
"""Logits of a language model on a device against our CPU path and against torch on the dequantised weights.

    python3 benchmarks/cuda/correctness.py DIR [--model qwen3-0.6b] [--settings q8_0/f16 f32/f32 ...] [--device cuda]

DIR holds what export_models.py and make_models.py wrote. The reference is the decoder that the `.pte` was exported
from, in float64 (--reference float32 | none). Columns are NMSE over the logits of the last position, worst of the
prompts; greedy: 64 tokens from a prompt, chosen by each side on its own, and the worst NMSE of a step when the device
is fed the CPU's choices. Tokens of F32 and F16 weights must be the CPU's, unless its two best logits lie so close that
either is right: "a tie", with what decides. Exits 1 when a number is beyond its bound.

References are computed by processes of their own beside everything else, and so is each row: one that ends badly costs
one row.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.case_file import Array
from benchmarks.cuda.models import MODELS, Model
from executorch_ggml.analysis.nmse import nmse

PROMPTS = (1, 5, 17, 64, 200)
STEPS = 64
# NMSE of quantised products is that of quantising the activations; an F16 cache or F16 weights round to 11 bits.
BOUNDS = {"f32": 1e-9, "f16": 1e-5, "q8_0": 1e-3, "q5_0": 1e-3, "q4_k_m": 1e-3}
MOST_COLUMNS = 8
"""Longer prompts than this are ggml's products, not ours."""
# With K types those take a block's minimum off with sums of activations that were not rounded.
GGML_BOUNDS = BOUNDS | {"q4_k_m": 2e-3}
F16_CACHE = 1e-5
MUST_AGREE = ("f32", "f16")
"""Types of weights whose greedy tokens have to be the CPU's."""
TIE = 6.0
"""Two logits are a tie when they differ by less than this many times the sides' root mean square difference."""
SETTINGS = ("q8_0/f16", "q4_k_m/f16", "f16/f16", "f32/f16", "f32/f32")


@dataclass(frozen=True)
class Setting:
    """One row: type of the weights, type of the cache."""

    weights: str
    cache: str

    @classmethod
    def parse(cls, text: str) -> Setting:
        weights, _, cache = text.partition("/")
        if weights not in BOUNDS or not cache:
            raise argparse.ArgumentTypeError(f"{text!r} is not like {SETTINGS[0]!r}, of {', '.join(BOUNDS)}")
        return cls(weights, cache)

    def bound(self, length: int = 1) -> float:
        """Of the logits behind a prompt of ``length`` tokens."""
        bounds = BOUNDS if length <= MOST_COLUMNS else GGML_BOUNDS
        return max(bounds[self.weights], F16_CACHE if self.cache != "f32" else 0.0)


def prompt(length: int, vocabulary: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(length).integers(0, vocabulary, length)]


class Side:
    """One device."""

    def __init__(self, model: Model, folder: Path, setting: Setting, device: str, threads: int) -> None:
        from executorch_ggml.runtime.program import Program

        gguf = model.gguf(folder, setting.weights)
        self.program = Program(model.pte(folder), gguf, device=device, cache_type=setting.cache, threads=threads)

    def logits(self, tokens: list[int], first: int = 0) -> Array:
        if first == 0:
            self.program.reset()
        ids, positions = np.array([tokens], np.int64), np.arange(first, first + len(tokens), dtype=np.int64)
        row: Array = self.program.execute("forward", [ids, positions])[0][0, -1]
        return row.copy()

    def generate(self, tokens: list[int], count: int) -> list[int]:
        from executorch_ggml.llm.text import generate

        self.program.reset()
        running = generate(self.program, tokens, max_tokens=count, ignore_end=True)
        for _ in running:
            pass
        return running.tokens[:count]


def reference(model: Model, gguf: Path, lengths: list[int], precision: str, threads: int) -> list[Array]:
    """torch's logits of each prompt."""
    import torch

    from executorch_ggml.llm.decoder import build_decoder, load_dequantized, read_header

    torch.set_num_threads(threads)
    header = read_header(gguf)
    decoder: Any = load_dequantized(build_decoder(header, max(lengths) + 1), header)
    decoder = decoder.to(getattr(torch, precision))
    vocabulary = header.tensors["token_embd.weight"].shape[0]
    rows = []
    with torch.no_grad():
        for length in lengths:
            tokens = prompt(length, vocabulary)
            rows.append(decoder(torch.tensor([tokens]), torch.arange(length))[0, -1].double().numpy())
    return rows


@dataclass
class Decoded:
    """What both sides chose; ``error``: the worst NMSE of a step that both were fed the CPU's token in."""

    chosen: list[int]
    own: list[int]
    error: float
    tie: str = ""

    @property
    def same(self) -> int:
        return next((i for i, (a, b) in enumerate(zip(self.chosen, self.own, strict=False)) if a != b), len(self.own))

    @property
    def agree(self) -> bool:
        return self.same == STEPS or bool(self.tie)


def decode(cpu: Side, device: Side, start: list[int]) -> Decoded:
    own = device.generate(start, STEPS)
    decoded = Decoded([], own, 0.0)
    a, b = cpu.logits(start), device.logits(start)
    for i in range(STEPS):
        decoded.error = max(decoded.error, nmse(b, a))
        decoded.chosen.append(int(a.argmax()))
        if i < len(own) and decoded.same == i:  # the first that differs
            gap = float(a[decoded.chosen[i]] - a[own[i]])
            between = float(np.sqrt(np.mean((a.astype(np.float64) - b) ** 2)))
            if gap <= TIE * between:
                decoded.tie = f", then a tie (logits {gap:.1e} apart, sides {between:.1e})"
        a, b = (side.logits([decoded.chosen[i]], len(start) + i) for side in (cpu, device))
    return decoded


def row(model: Model, folder: Path, setting: Setting, options: argparse.Namespace, want: list[Array]) -> list[str]:
    """Cells of the table; the last says what is wrong, or "ok"."""
    cpu = Side(model, folder, setting, "cpu", options.threads)
    device = Side(model, folder, setting, options.device, options.threads)
    vocabulary = int(cpu.program.execute("get_vocab_size", [])[0])
    prompts = [prompt(n, vocabulary) for n in options.prompts]
    ours = [device.logits(p) for p in prompts]
    theirs = [cpu.logits(p) for p in prompts]
    against_cpu = [nmse(a, b) for a, b in zip(ours, theirs, strict=True)]
    against_torch = [nmse(a, b) for a, b in zip(ours, want, strict=False)]
    bounds = [setting.bound(n) for n in options.prompts]
    cpu_torch = max((nmse(a, b) for a, b in zip(theirs, want, strict=False)), default=float("nan"))
    decoded = decode(cpu, device, prompts[1])

    wrong = []
    if not all(e <= 2 * bound for e, bound in zip(against_cpu, bounds, strict=True)):
        wrong.append("CPU")
    if options.reference != "none" and not want:
        wrong.append("no reference")
    if not all(e <= bound for e, bound in zip(against_torch, bounds, strict=False)):
        wrong.append("torch")
    if not decoded.error <= 2 * setting.bound():
        wrong.append("a step")
    if setting.weights in MUST_AGREE and not decoded.agree:
        wrong.append(f"greedy differs at {decoded.same}")
    worst = max(against_torch, default=float("nan")), cpu_torch, max(against_cpu), decoded.error
    numbers = [f"{x:.1e}" for x in worst]
    greedy = f"{decoded.same} of {STEPS} ({len(set(decoded.chosen))} different){decoded.tie}"
    return [setting.weights, setting.cache, *numbers, greedy, ", ".join(wrong) or "ok"]


def result_of(waiting: Future[list[Array]] | None, weights: str) -> list[Array]:
    if waiting is None:
        return []
    try:
        return waiting.result()
    except Exception as error:
        print(f"no reference for {weights}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return []


def isolated_row(model: Model, setting: Setting, options: argparse.Namespace, want: list[Array]) -> list[str]:
    """The same by a process of its own."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            return pool.submit(row, model, options.directory, setting, options, want).result()
    except BrokenProcessPool:
        text = "its process ended"
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
    return [setting.weights, setting.cache, *["-"] * 5, text.replace("\n", " ")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", default="qwen3-0.6b", choices=list(MODELS))
    parser.add_argument("--settings", nargs="+", type=Setting.parse, default=[Setting.parse(s) for s in SETTINGS])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU side")
    parser.add_argument(
        "--prompts", type=int, nargs="+", default=list(PROMPTS), help="lengths; the second is decoded on"
    )
    parser.add_argument("--reference", default="float64", choices=("float64", "float32", "none"))
    options = parser.parse_args()
    model = MODELS[options.model]
    began = time.perf_counter()
    print(f"{model.name} on `{options.device}`, prompts of {options.prompts} tokens; NMSE, worst of the prompts\n")
    print(
        f"| weights | cache | {options.device} / torch | CPU / torch | {options.device} / CPU "
        "| of a step | greedy | |\n"
        "|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    kinds = list(dict.fromkeys(s.weights for s in options.settings))
    failed = False
    with ProcessPoolExecutor(len(kinds), get_context("spawn")) as pool:
        threads = max(1, len(os.sched_getaffinity(0)) // len(kinds))
        references: dict[str, Future[list[Array]]] = {}
        if options.reference != "none":
            for kind in kinds:
                asked = (model, model.gguf(options.directory, kind), options.prompts, options.reference, threads)
                references[kind] = pool.submit(reference, *asked)
        for setting in options.settings:
            want = result_of(references.get(setting.weights), setting.weights)
            cells = isolated_row(model, setting, options, want)
            failed |= cells[-1] != "ok"
            print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
