#!/usr/bin/env python3
"""Logits of a language model on a device against our CPU path and against torch on the dequantised weights.

    python3 benchmarks/cuda/correctness.py DIR [--model qwen3-0.6b] [--types q8_0 q4_k_m f16 f32] [--device cuda]

DIR holds what export_models.py and make_models.py wrote. The reference is the decoder that the `.pte` was exported
from, in float64 (--reference float32 | none). Columns are NMSE over the logits of the last position, worst of the
prompts; greedy: 64 tokens from a prompt, chosen by each side on its own, and the worst NMSE of a step when the device
is fed the CPU's choices. Exits 1 when a number is beyond its bound.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.cuda.case_file import Array  # noqa: E402
from benchmarks.cuda.models import MODELS, Model  # noqa: E402

PROMPTS = (1, 5, 17, 64, 200)
STEPS = 64
# NMSE of quantised products is that of quantising the activations; an F16 cache or F16 weights round to 11 bits.
BOUNDS = {"f32": 1e-9, "f16": 1e-5, "q8_0": 1e-3, "q4_k_m": 1e-3}
F16_CACHE = 1e-5
MUST_AGREE = ("f32", "f16")
"""Types of weights whose greedy tokens have to be the CPU's."""


@dataclass(frozen=True)
class Setting:
    """One row: type of the weights, type of the cache."""

    weights: str
    cache: str

    @property
    def bound(self) -> float:
        return max(BOUNDS[self.weights], F16_CACHE if self.cache != "f32" else 0.0)


def prompt(length: int, vocabulary: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(length).integers(0, vocabulary, length)]


def nmse(got: Array, want: Array) -> float:
    got, want = got.astype(np.float64), want.astype(np.float64)
    return float(((got - want) ** 2).sum() / (want**2).sum())


class Side:
    """One device."""

    def __init__(self, model: Model, folder: Path, setting: Setting, device: str, threads: int) -> None:
        from executorch_ggml.program import Program

        gguf = model.gguf(folder, setting.weights)
        self.program = Program(model.pte(folder), gguf, device=device, cache_type=setting.cache, threads=threads)

    def logits(self, tokens: list[int], first: int = 0) -> Array:
        if first == 0:
            self.program.reset()
        ids, positions = np.array([tokens], np.int64), np.arange(first, first + len(tokens), dtype=np.int64)
        row: Array = self.program.execute("forward", [ids, positions])[0][0, -1]
        return row.copy()

    def generate(self, tokens: list[int], count: int) -> list[int]:
        from executorch_ggml.text import generate

        self.program.reset()
        running = generate(self.program, tokens, max_tokens=count, ignore_end=True)
        for _ in running:
            pass
        return running.tokens[:count]


def reference(model: Model, gguf: Path, prompts: list[list[int]], precision: str) -> list[Array]:
    """torch's logits of each prompt."""
    import torch

    from executorch_ggml.models import build_decoder, load_dequantized, read_header

    header = read_header(gguf)
    decoder: Any = load_dequantized(build_decoder(header, max(map(len, prompts)) + 1), header)
    decoder = decoder.to(getattr(torch, precision))
    rows = []
    with torch.no_grad():
        for tokens in prompts:
            rows.append(decoder(torch.tensor([tokens]), torch.arange(len(tokens)))[0, -1].double().numpy())
    return rows


def row(model: Model, folder: Path, setting: Setting, options: argparse.Namespace, want: list[Array]) -> list[str]:
    """Cells of the table; the last says what is wrong, or nothing."""
    cpu = Side(model, folder, setting, "cpu", options.threads)
    device = Side(model, folder, setting, options.device, options.threads)
    vocabulary = int(cpu.program.execute("get_vocab_size", [])[0])
    prompts = [prompt(n, vocabulary) for n in options.prompts]
    ours = [device.logits(p) for p in prompts]
    theirs = [cpu.logits(p) for p in prompts]
    against_cpu = max(nmse(a, b) for a, b in zip(ours, theirs, strict=True))
    against_torch = max((nmse(a, b) for a, b in zip(ours, want, strict=False)), default=float("nan"))
    cpu_torch = max((nmse(a, b) for a, b in zip(theirs, want, strict=False)), default=float("nan"))

    start = prompts[1]
    chosen = cpu.generate(start, STEPS)
    own = device.generate(start, STEPS)
    same = next((i for i, (a, b) in enumerate(zip(chosen, own, strict=True)) if a != b), STEPS)
    worst = 0.0
    a, b = cpu.logits(start), device.logits(start)
    for i, token in enumerate(chosen):
        worst = max(worst, nmse(b, a))
        a, b = (side.logits([token], len(start) + i) for side in (cpu, device))

    wrong = []
    if not against_cpu <= 2 * setting.bound:
        wrong.append("CPU")
    if want and not against_torch <= setting.bound:
        wrong.append("torch")
    if setting.weights in MUST_AGREE and same < STEPS:
        wrong.append(f"greedy differs at {same}")
    numbers = [f"{x:.1e}" for x in (against_torch, cpu_torch, against_cpu, worst)]
    greedy = f"{same} of {STEPS} ({len(set(chosen))} different)"
    return [setting.weights, setting.cache, *numbers, greedy, ", ".join(wrong) or "ok"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", default="qwen3-0.6b", choices=list(MODELS))
    parser.add_argument("--types", nargs="+", default=["q8_0", "q4_k_m", "f16", "f32"])
    parser.add_argument("--caches", nargs="+", default=["f16", "f32"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU side")
    parser.add_argument("--prompts", type=int, nargs="+", default=list(PROMPTS), help="lengths; the second is decoded on")
    parser.add_argument("--reference", default="float64", choices=("float64", "float32", "none"))
    options = parser.parse_args()
    model = MODELS[options.model]
    print(f"{model.name} on `{options.device}`, prompts of {options.prompts} tokens; NMSE, worst of the prompts\n")
    print(
        f"| weights | cache | {options.device} / torch | CPU / torch | {options.device} / CPU | of a step | greedy | |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    failed = False
    for weights in options.types:
        gguf = model.gguf(options.directory, weights)
        want: list[Array] = []
        if options.reference != "none":
            vocabulary = reference_vocabulary(gguf)
            want = reference(model, gguf, [prompt(n, vocabulary) for n in options.prompts], options.reference)
        for cache in options.caches:
            cells = row(model, options.directory, Setting(weights, cache), options, want)
            failed |= cells[-1] != "ok"
            print("| " + " | ".join(cells) + " |", flush=True)
    return int(failed)


def reference_vocabulary(gguf: Path) -> int:
    from executorch_ggml.models import read_header

    header = read_header(gguf)
    return header.tensors["token_embd.weight"].shape[0]


if __name__ == "__main__":
    sys.exit(main())
